"""An embedded default, or any other ONNX artifact, measured the way its users meet it.

    python -m benchmarks.default --artifact person --against person-tiny --crops FOLDER
        --triplets CSV --output FOLDER

Prints a table for each of: drawn identities never trained on, by every subset of the modalities;
real RGB crops named IDENTITY_cCAMERA_FRAME.jpg, next to histograms that need no training, as they
are and re-ranked; real triplets in a manifest with the columns role (query, pos, neg) and query;
and the time of one query. `--output` keeps the figures as JSON and draws the triplets' rank lists.
All of it goes through `load_artifact` and `.embed`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.latency import measure_milliseconds, measure_sgemm
from trireid.demo.baselines import (
    describe_by_colors,
    describe_by_histogram,
    describe_by_hsv_stripes,
)
from trireid.demo.synthetic.source import synthetic_samples
from trireid.evaluation import Scores, evaluate_distance, rerank
from trireid.evaluation.rank_list import Ranked, rank_list
from trireid.gallery.scoring import Segments, make_mask
from trireid.inference import Embedder, load_artifact
from trireid.inference.retrieval import Subset, list_subsets
from trireid.samples import KINDS, MODALITIES, Kind, Sample, SourceError, to_batch
from trireid.samples.sources import open_source

Floats = NDArray[np.float32]
SIZES: Final[dict[Kind, tuple[int, int]]] = {"person": (256, 128), "vehicle": (128, 256)}
PATTERN: Final = "{identity}_c{camera}_{*}"
RESAMPLES: Final = 10_000
ROUNDS: Final = 5
SHOWN: Final = 20


@dataclass(frozen=True)
class Figure:
    """A cell of a table: scores in percent over `queries` queries with a match, of `identities`.

    `precisions`: the average precision of each; `interval`: 95 % of the means of queries drawn
    again with replacement.
    """

    row: str
    column: str
    queries: int
    identities: int
    mAP: float  # noqa: N815 - the field's own spelling
    rank1: float
    interval: tuple[float, float]
    precisions: tuple[float, ...]

    @classmethod
    def summarize(
        cls, row: str, column: str, scores: Mapping[int, Scores], identities: Sequence[Any]
    ) -> Figure:
        """Make one of the scores of single queries, by their indices among `identities`."""
        precisions = 100 * np.array([each.mAP for each in scores.values()])
        drawn = np.random.default_rng(0).choice(precisions, (RESAMPLES, len(precisions)))
        low, high = np.percentile(drawn.mean(axis=1), [2.5, 97.5])
        return cls(
            row,
            column,
            len(scores),
            len({identities[query] for query in scores}),
            round(float(precisions.mean()), 1),
            round(100 * float(np.mean([each.rank1 for each in scores.values()])), 1),
            (round(float(low), 1), round(float(high), 1)),
            tuple(np.round(precisions, 1).tolist()),
        )

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.mAP:.1f} ({low:.0f} to {high:.0f}) / {self.rank1:.1f}"


def load_networks(names: Sequence[str], threads: int) -> dict[str, Embedder]:
    """Load embedded defaults by name and other artifacts by path, which are called by their stems.

    Raises ValueError if two have the same name.
    """
    networks = {Path(name).stem: load_artifact(name, threads) for name in names}
    if len(networks) < len(names):
        raise ValueError(f"two of {', '.join(names)} have the same name; rename a file")
    return networks


def embed(embedder: Embedder, samples: Sequence[Sample], shown: Subset = MODALITIES) -> Floats:
    """Embed samples of which only some modalities are shown, as a gallery compares them."""
    hidden: dict[str, Any] = {modality: None for modality in MODALITIES if modality not in shown}
    embeddings = embedder.embed([replace(sample, **hidden) for sample in samples])
    return Segments(embedder.card).reduce(embeddings, np.full(len(samples), make_mask(shown)))


def score_queries(
    distance: Floats, identities: Sequence[Any], groups: Sequence[Any]
) -> dict[int, Scores]:
    """Score each query of distances [M, M] apart, by the field's rule: an item of its identity and
    group is left out, and a query without a match is not counted.
    """
    scores = {}
    for query in range(len(distance)):
        one = slice(query, query + 1)
        with suppress(ValueError):  # no match
            scores[query] = evaluate_distance(
                distance[one], identities[one], identities, groups[one], groups
            )
    return scores


def measure_drawn(networks: dict[str, Embedder], samples: Sequence[Sample]) -> list[Figure]:
    """Measure across cameras on drawn samples, by every subset of the modalities."""
    identities, cameras = [s.identity for s in samples], [s.camera for s in samples]
    figures = []
    for name, embedder in networks.items():
        for shown in list_subsets(embedder.card):
            features = embed(embedder, samples, shown)
            scores = score_queries(-(features @ features.T), identities, cameras)
            figures.append(Figure.summarize("+".join(shown), name, scores, identities))
    return figures


def measure_crops(
    networks: dict[str, Embedder], samples: Sequence[Sample], size: tuple[int, int]
) -> list[Figure]:
    """Measure on RGB crops, next to histograms of them at a size (height, width): across cameras,
    and among all other crops, of which more queries have a match.
    """
    identities = [sample.identity for sample in samples]
    protocols: dict[str, Sequence[Any]] = {
        "across cameras": [sample.camera for sample in samples],
        "among all": list(range(len(samples))),
    }
    images = to_batch(samples, size).images[:, 0]
    features = {
        "color histogram": describe_by_colors(images),
        "striped HSV histogram": describe_by_hsv_stripes(images),
        **{name: embed(embedder, samples, ("rgb",)) for name, embedder in networks.items()},
    }
    figures = []
    for name, rows in features.items():
        distances = {name: -(rows @ rows.T), f"{name}, re-ranked": rerank(rows, rows)}
        for row, distance in distances.items():
            for column, groups in protocols.items():
                if scores := score_queries(distance, identities, groups):
                    figures.append(Figure.summarize(row, column, scores, identities))
    return figures


def rank_triplets(samples: Sequence[Sample], features: Floats) -> dict[int, list[int]]:
    """Rank all other samples for each query, best first, by their indices."""
    queries = [row for row, each in enumerate(samples) if each.attributes.get("role") == "query"]
    return {
        query: [item for item in np.argsort(-features @ features[query]).tolist() if item != query]
        for query in queries
    }


def find_right(samples: Sequence[Sample], query: int, order: Sequence[int]) -> list[int]:
    """The ranks, from 1, of the samples that are right for a query."""
    right = {"role": "pos", "query": samples[query].attributes["query"]}
    return [
        rank
        for rank, item in enumerate(order, 1)
        if right.items() <= samples[item].attributes.items()
    ]


def draw_lists(
    samples: Sequence[Sample],
    lists: dict[int, list[int]],
    shown: Subset,
    size: tuple[int, int],
    path: Path,
) -> None:
    """Draw each query and its best hits at a size (height, width), the right ones framed green."""
    columns = [MODALITIES.index(modality) for modality in shown]
    images = to_batch(samples, size).images[:, columns]
    rows = []
    for query, order in lists.items():
        right = find_right(samples, query, order)
        hits = [
            Ranked(images[item], rank in right, str(rank))
            for rank, item in enumerate(order[:SHOWN], 1)
        ]
        rows.append((images[query], f"query {samples[query].attributes['query']}", hits))
    path.parent.mkdir(parents=True, exist_ok=True)
    rank_list(rows).save(path)


def measure_latency(networks: dict[str, Embedder], sample: Sample, runs: int) -> dict[str, float]:
    """Measure the median milliseconds of embedding one sample; the networks take turns, so that a
    drifting machine treats all alike.
    """
    taken: dict[str, list[float]] = {name: [] for name in networks}
    for _ in range(ROUNDS):
        for name, embedder in networks.items():
            once = partial(embedder.embed, [sample])
            taken[name].append(float(measure_milliseconds(once, -(-runs // ROUNDS))[1]))
    return {name: round(float(np.median(values)), 1) for name, values in taken.items()}


def format_figures(corner: str, figures: Sequence[Figure]) -> str:
    """A Markdown table of figures: mAP with its interval, and Rank-1."""
    cells = {(figure.row, figure.column): str(figure) for figure in figures}
    columns = list(dict.fromkeys(figure.column for figure in figures))
    rows = dict.fromkeys(figure.row for figure in figures)
    lines = [[corner, *columns], ["---"] * (1 + len(columns))]
    lines += [[row, *(cells.get((row, column), "-") for column in columns)] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def read_samples(source: str, pattern: str | None = None) -> list[Sample]:
    """Read a SOURCE's samples; an entry that cannot be used is an error."""
    samples = []
    for entry in open_source(source, pattern=pattern):
        if entry.sample is None:
            raise SourceError(f"{source}: {entry.place}: {entry.error}", source)
        samples.append(entry.sample)
    return samples


def report_drawn(
    networks: dict[str, Embedder], kind: Kind, identities: int, *, varied: bool
) -> dict[str, Any]:
    """Print the table of drawn identities of the plain or the varied world; return its figures."""
    drawn = synthetic_samples(kind, identities, split="test", shots=2, varied=varied)
    samples = list(drawn)
    figures = measure_drawn(networks, samples)
    world = "varied" if varied else "plain"
    print(f"\n{identities} drawn identities, {world} world, {len(samples)} samples, across cameras")
    print("mAP (95 % interval over queries) / Rank-1\n")
    print(format_figures("modalities", figures))
    return {f"drawn_{world}": [asdict(figure) for figure in figures]}


def report_crops(
    networks: dict[str, Embedder], folder: str, pattern: str, kind: Kind
) -> dict[str, Any]:
    """Print the table of real crops, and return its figures."""
    samples = read_samples(folder, pattern)
    figures = measure_crops(networks, samples, SIZES[kind])
    counts = {figure.column: (figure.queries, figure.identities) for figure in figures}
    matched = ", ".join(f"{q} {column} (of {n} identities)" for column, (q, n) in counts.items())
    print(f"\n{len(samples)} crops; queries with a match: {matched}")
    print("mAP (95 % interval over queries) / Rank-1\n")
    print(format_figures("features", figures))
    return {"crops": [asdict(figure) for figure in figures]}


def report_triplets(
    networks: dict[str, Embedder], manifest: str, kind: Kind, output: Path | None
) -> dict[str, Any]:
    """Print the ranks of the right samples, draw the lists, and return the ranks."""
    samples, (height, width) = read_samples(manifest), SIZES[kind]
    images = to_batch(samples, (height, width)).images
    features: dict[tuple[str, Subset], Floats] = {
        ("striped HSV histogram", ("rgb",)): describe_by_hsv_stripes(images[:, 0]),
        ("tri-modal histogram", MODALITIES): describe_by_histogram(images),
    }
    for name, embedder in networks.items():
        for shown in (embedder.card.modalities[:1], embedder.card.modalities):
            features[name, shown] = embed(embedder, samples, shown)
    print("\n| features | modalities | query | ranks of the right ones | among |\n|" + "---|" * 5)
    table = []
    for (name, shown), rows in features.items():
        lists, label = rank_triplets(samples, rows), "+".join(shown)
        for query, order in lists.items():
            ranks = find_right(samples, query, order)
            number = samples[query].attributes["query"]
            table.append((name, label, number, ranks, len(order)))
            print(f"| {name} | {label} | {number} | {' '.join(map(str, ranks))} | {len(order)} |")
        if output:
            path = output / f"{Path(manifest).stem}-{name}-{label}.png"
            draw_lists(samples, lists, shown, (height // 2, width // 2), path)
    keys = ("features", "modalities", "query", "ranks", "among")
    return {"triplets": [dict(zip(keys, row, strict=True)) for row in table]}


def report_latency(networks: dict[str, Embedder], kind: Kind, runs: int) -> dict[str, Any]:
    """Print the time of one drawn query in each network, and return it."""
    sample = next(iter(synthetic_samples(kind, 1)))
    sgemm, times = measure_sgemm(), measure_latency(networks, sample, runs)
    print(f"\none query, {sgemm:.0f} GFLOP/s in a 2048-cube sgemm\n")
    print("| network | MB | ms | of the first's |\n|---|---|---|---|")
    first = next(iter(times.values()))
    for name, taken in times.items():
        megabytes = networks[name].path.stat().st_size / 1e6
        print(f"| {name} | {megabytes:.1f} | {taken:.1f} | {taken / first:.2f} |")
    return {"milliseconds": times, "sgemm": round(sgemm)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write the figures."""
    given = _parse(arguments)
    networks = load_networks([given.artifact, *given.against], given.threads)
    first = next(iter(networks.values()))
    kind: Kind = given.kind or first.card.kind or "person"
    marks = {name: embedder.card.fingerprint for name, embedder in networks.items()}
    results: dict[str, Any] = {"kind": kind, "fingerprints": marks, "threads": given.threads}
    results |= report_latency(networks, kind, given.runs)
    if given.crops:
        results |= report_crops(networks, given.crops, given.pattern, kind)
    if given.triplets:
        results |= report_triplets(networks, given.triplets, kind, given.output)
    if given.identities:
        for varied in (False, True)[: 1 + given.varied]:
            results |= report_drawn(networks, kind, given.identities, varied=varied)
    if given.output:
        given.output.mkdir(parents=True, exist_ok=True)
        (given.output / f"{next(iter(networks))}.json").write_text(json.dumps(results, indent=1))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.default",
        description="an embedded default on drawn and real images",
    )
    parser.add_argument(
        "--artifact", default="person", help="an embedded default or a file (default: %(default)s)"
    )
    parser.add_argument(
        "--against", nargs="*", default=[], metavar="ARTIFACT", help="others to compare with"
    )
    parser.add_argument("--kind", choices=KINDS, help="default: by the artifact's card")
    parser.add_argument(
        "--identities", type=int, default=100, help="drawn ones; 0 for none (default: %(default)s)"
    )
    parser.add_argument(
        "--varied", action="store_true", help="draw the wider world, too (needs trireid[photos])"
    )
    parser.add_argument("--crops", metavar="FOLDER", help="RGB crops")
    parser.add_argument("--pattern", default=PATTERN, help="of their names (default: %(default)s)")
    parser.add_argument("--triplets", metavar="CSV", help="a manifest with role and query")
    parser.add_argument("--threads", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--runs", type=int, default=20, help="timed (default: %(default)s)")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="for figures and rank lists")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
