"""The service at saturation, against a bare loop of decode, batched embed and search in the same
run.

    python -m benchmarks.load [--clients 64] [--seconds 300] [--items 2000] [--json FILE] [--set
    TRIREID_BATCH=8 ...]

Draws a gallery (kept in `--folder`, runs/load), then in turns: the bare loop in this process with
one and with two threads; `trireid serve` as its users start it, with one client, then with
`--clients` for `--warm-up` and `--seconds`; the bare loop again. The clients share the cores with
the server, so throughput is told as it was, and divided by the share of the cores that they left.
Memory is that of all the server's processes. Says at the end whether the promises are kept, and
ends with code 1 where one is not.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.load.bare import Bare, run_bare_loop
from benchmarks.load.clients import Tally, saturate
from benchmarks.load.queries import make_queries, prepare_gallery, write_request
from benchmarks.load.served import Usage, run_server
from trireid.samples import Sample

_CORES = len(os.sched_getaffinity(0))
_ALONE = 10.0


@dataclass(frozen=True)
class Loaded:
    """Answers of the server to one client and to many, and its use of the machine around the
    measured time.
    """

    one: Tally
    many: Tally
    before: Usage
    after: Usage
    errors: list[str]

    @property
    def clients_share(self) -> float:
        """Of the cores, taken by the clients."""
        return self.many.cpu_seconds / (self.many.seconds * _CORES)

    @property
    def corrected(self) -> float:
        """Answers per second, had the clients run elsewhere: as if the cores that they took did the
        server's work.
        """
        return self.many.throughput / (1 - self.clients_share)

    @property
    def growth(self) -> float:
        """Of the server's memory after warm-up, as a fraction."""
        return self.after.memory / self.before.memory - 1


def measure(
    gallery: Path, asked: Sequence[Sample], given: argparse.Namespace, settings: Mapping[str, str]
) -> Loaded:
    """Start the server with these settings, and load it."""
    requests = [write_request(each) for each in asked]
    with (
        tempfile.TemporaryDirectory() as folder,
        run_server(gallery, Path(folder) / "log", settings) as served,
    ):
        saturate(served.port, requests, given.clients, given.warm_up)
        one = saturate(served.port, requests, 1, min(_ALONE, given.seconds))
        before = served.usage()
        many = saturate(served.port, requests, given.clients, given.seconds)
        after, errors = served.usage(), served.errors()
    return Loaded(one, many, before, after, errors)


def report(loaded: Loaded, loops: Sequence[Bare]) -> dict[str, Any]:
    """Return all measurements as plain numbers."""
    many, bare_rate, alone = (
        loaded.many,
        mean(each.best for each in loops),
        mean(each.alone for each in loops),
    )
    latency = loaded.one.percentiles()["p50"]
    server_cpu = loaded.after.cpu_seconds - loaded.before.cpu_seconds
    return {
        "cores": _CORES,
        "bare": [asdict(each) for each in loops],
        "bare_per_second": bare_rate,
        "bare_alone_ms": alone,
        "bare_cpu_ms": mean(each.cpu_of_best for each in loops),
        "per_second": many.throughput,
        "per_second_corrected": loaded.corrected,
        "ratio": many.throughput / bare_rate,
        "ratio_corrected": loaded.corrected / bare_rate,
        "alone_ms": latency,
        "alone_extra_ms": latency - alone,
        "latency_ms": many.percentiles(),
        "statuses": dict(many.statuses),
        "clients_share": loaded.clients_share,
        "server_share": server_cpu / (many.seconds * _CORES),
        "server_cpu_ms": 1000 * server_cpu / max(1, len(many.milliseconds)),
        "memory_mib": [loaded.before.memory, loaded.after.memory],
        "memory_growth": loaded.growth,
        "errors": loaded.errors[:20],
        "seconds": many.seconds,
    }


def check_promises(found: Mapping[str, Any]) -> dict[str, bool]:
    """Check what the service promises under load."""
    wrong = [status for status in found["statuses"] if status not in ("200", "503")]
    return {
        "throughput at saturation is 80 % of the bare loop's, or more": found["ratio_corrected"]
        >= 0.8,
        "alone, the median is 15 ms over the bare loop's, or less": found["alone_extra_ms"] <= 15,
        "memory grows by less than 5 % after warm-up": found["memory_growth"] < 0.05,
        "no answer but 200 and 503": not wrong,
        "no error in the log": not found["errors"],
    }


def write_text(found: Mapping[str, Any]) -> str:
    """Write the report for people."""
    one, many = found["bare_per_second"], found["per_second"]
    corrected, growth = found["per_second_corrected"], found["memory_growth"]
    before, after = found["memory_mib"]
    latencies = (f"{name} {value:.0f} ms" for name, value in found["latency_ms"].items())
    statuses = (f"{name}: {count}" for name, count in found["statuses"].items())
    lines = [
        f"bare loop, queries/s     {_loops(found['bare'])}; mean of the best {one:.1f}",
        f"  a query's stages       {_stages(found['bare'][0]['stages'])}",
        f"server, answers/s        {many:.1f} ({found['ratio']:.0%} of the bare loop)",
        f"  less the clients' share {corrected:.1f} ({found['ratio_corrected']:.0%})",
        f"shares of {found['cores']} cores        server {found['server_share']:.0%},"
        f" clients {found['clients_share']:.1%}",
        f"CPU an answer            {found['server_cpu_ms']:.1f} ms,"
        f" the bare loop {found['bare_cpu_ms']:.1f} ms",
        f"latency at saturation    {', '.join(latencies)}",
        f"latency of one client    {found['alone_ms']:.1f} ms;"
        f" bare loop {found['bare_alone_ms']:.1f} ms",
        f"statuses                 {', '.join(statuses)}",
        f"memory                   {before:.0f} MiB, then {after:.0f} MiB"
        f" ({growth:+.1%}) in {found['seconds']:.0f} s",
    ]
    for promise, is_kept in check_promises(found).items():
        lines.append(f"{'kept' if is_kept else 'NOT KEPT'}: {promise}")
    return "\n".join([*lines, *(f"log: {line}" for line in found["errors"])])


def _loops(loops: Sequence[Mapping[str, Any]]) -> str:
    return "; ".join(
        f"{when} "
        + ", ".join(
            f"{rate:.1f} with {number} threads" for number, rate in each["throughput"].items()
        )
        for when, each in zip(("before", "after"), loops, strict=True)
    )


def _stages(stages: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.2f} ms" for name, value in stages.items())


def parse_settings(pairs: Sequence[str]) -> dict[str, str]:
    """`NAME=VALUE` each, as a server's environment."""
    return dict(pair.partition("=")[::2] for pair in pairs)


def make_parser(prog: str, description: str) -> argparse.ArgumentParser:
    """The options that measurements of the server share."""
    made = argparse.ArgumentParser(prog=prog, description=description)
    made.add_argument("--clients", type=int, default=64)
    made.add_argument("--seconds", type=float, default=300)
    made.add_argument("--warm-up", type=float, default=30)
    made.add_argument("--items", type=int, default=2000)
    made.add_argument("--queries", type=int, default=128)
    made.add_argument(
        "--folder", type=Path, default=Path("runs/load"), help="where the gallery is kept"
    )
    made.add_argument("--json", type=Path, metavar="FILE")
    return made


def main() -> int:
    """Measure and print."""
    options = make_parser(
        "python -m benchmarks.load", "the service at saturation, against a bare loop"
    )
    options.add_argument("--bare-seconds", type=float, default=20)
    options.add_argument("--batch", type=int, default=8, help="of the bare loop")
    options.add_argument(
        "--set", nargs="+", default=[], metavar="NAME=VALUE", help="the server's environment"
    )
    given = options.parse_args()
    gallery, asked = prepare_gallery(given.folder, given.items), make_queries(given.queries)
    loops = [run_bare_loop(gallery, asked, given.batch, given.bare_seconds)]
    loaded = measure(gallery, asked, given, parse_settings(given.set))
    loops.append(run_bare_loop(gallery, asked, given.batch, given.bare_seconds))
    found = {
        "settings": given.set,
        "clients": given.clients,
        "items": given.items,
        **report(loaded, loops),
    }
    if given.json:
        given.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(write_text(found))
    return 0 if all(check_promises(found).values()) else 1


if __name__ == "__main__":
    sys.exit(main())
