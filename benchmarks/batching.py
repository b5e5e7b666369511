"""Forward passes that requests share, against none, in one run: the same load on servers of
different settings, in turns.

    python -m benchmarks.batching [--rounds 3] [--seconds 30] [--clients 64] [--settings
    TRIREID_BATCH=1 TRIREID_BATCH=8 ...]

Each of `--settings` is a server's environment, `NAME=VALUE` pairs joined by commas. Prints for each
the answers per second and the median latency of every round, and the median ratio to the first
one's in the same round.
"""

from __future__ import annotations

import json
from statistics import median
from typing import Any, Final

from benchmarks.load.__main__ import make_parser, measure, parse_settings
from benchmarks.load.queries import make_queries, prepare_gallery

_SETTINGS: Final = (
    "TRIREID_BATCH=1,TRIREID_PASSES=2",
    "TRIREID_BATCH=8,TRIREID_PASSES=1",
    "TRIREID_BATCH=8,TRIREID_PASSES=2",
)


def main() -> None:
    """Measure and print."""
    options = make_parser(
        "python -m benchmarks.batching", "forward passes that requests share, against none"
    )
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument(
        "--settings", nargs="+", default=_SETTINGS, metavar="NAME=VALUE[,NAME=VALUE]"
    )
    options.set_defaults(seconds=30.0, warm_up=5.0)
    given = options.parse_args()
    gallery, asked = prepare_gallery(given.folder, given.items), make_queries(given.queries)
    rounds: list[dict[str, dict[str, Any]]] = []
    for _ in range(given.rounds):
        rounds.append({})
        for settings in given.settings:
            loaded = measure(gallery, asked, given, parse_settings(settings.split(",")))
            rounds[-1][settings] = {
                "per_second": loaded.many.throughput,
                "latency_ms": loaded.many.percentiles(),
            }
    for settings in given.settings:
        rates = [each[settings]["per_second"] for each in rounds]
        ratio = median(
            each[settings]["per_second"] / each[given.settings[0]]["per_second"] for each in rounds
        )
        waits = ", ".join(f"{each[settings]['latency_ms']['p50']:.0f}" for each in rounds)
        shown = ", ".join(f"{rate:.1f}" for rate in rates)
        print(f"{settings}: {shown} answers/s ({ratio:.2f} of the first); p50 {waits} ms")
    if given.json:
        given.json.write_text(json.dumps(rounds, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
