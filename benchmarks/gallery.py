"""The gallery's index against exact search, in one run: recall, speed, memory, loading, adding,
filters; as ratios.

    python -m benchmarks.gallery --size 100000 --dimension 768 --quantization float32 int8 --compare
    --table FILE.csv --plot FILE.png

The vectors are synthetic, like a trained ReID network's: looks (what people wear), identities
around looks, shots around identities. look 0.7 + identity 0.7 + camera 0.25 + shot `--noise` (each
a Gaussian in a latent space of 192 dimensions with falling variance, rank^-0.35), a fixed random
map to D dimensions, white noise of 0.2, unit length. `--per` shots an identity, 50 identities a
look, 8 cameras. Queries are other shots of the same identities. At noise 0.75 shots of one identity
have a cosine of about 0.6, at 0.5 of about 0.75.

The vectors stand in an SQLite store (a blob by primary key), and the int8 and float16 indexes
rescore their shortlist by what they fetch from there, as the gallery does. `--compare` adds FAISS'
own `IVF,RaBitQ,Refine(SQ8)`, and hnswlib and usearch if they are installed: building theirs takes
an hour at a million on two cores. Everything runs in a temporary folder; needs about 4 bytes *
size * dimension of memory twice, and of disk twice.
"""

from __future__ import annotations

import argparse
import csv
import json
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import faiss
import numpy as np
from numpy.typing import NDArray

from trireid.gallery.index import Keys, Quantization, VectorIndex, Vectors

CHUNK: Final = 20_000
CAMERAS: Final = 8
K: Final = 10
ADDED: Final = 10_000
MAX_THREADS: Final = faiss.omp_get_max_threads()
Search = Callable[[Vectors], Keys]


@dataclass(frozen=True)
class Point:
    """A line of the table.

    `bytes`: of memory per vector; `single`, `batch`: milliseconds a query, alone and in 64s.
    """

    index: str
    setting: str
    recall: float
    bytes: float
    single: float
    batch: float


class World:
    """A source of synthetic vectors; see the module's description."""

    def __init__(self, size: int, dimension: int, noise: float, per: int, rank: int = 192) -> None:
        self.draw = np.random.default_rng(0)
        self.noise, self.dimension = noise, dimension
        self.scale = ((1 + np.arange(rank)) ** -0.35).astype(np.float32)
        self.scale /= np.linalg.norm(self.scale)
        identities = max(size // per, 1)
        self.map = self._normal(rank, dimension) / np.float32(dimension**0.5)
        looks = self._normal(max(identities // 50, 1), rank) * self.scale
        of = self.draw.integers(0, len(looks), identities)
        self.identities = 0.7 * looks[of] + 0.7 * self._normal(identities, rank) * self.scale
        self.cameras = 0.25 * self._normal(CAMERAS, rank) * self.scale

    def shots(self, count: int) -> tuple[Vectors, NDArray[np.int64]]:
        """Vectors [n, D] of random identities, and their cameras [n]."""
        camera = self.draw.integers(0, CAMERAS, count)
        latent = (
            self.identities[self.draw.integers(0, len(self.identities), count)]
            + self.cameras[camera]
        )
        latent += np.float32(self.noise) * self._normal(count, len(self.scale)) * self.scale
        vectors = latent @ self.map + np.float32(0.2 / self.dimension**0.5) * self._normal(
            count, self.dimension
        )
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), camera

    def _normal(self, *shape: int) -> NDArray[np.float32]:
        return self.draw.standard_normal(shape, dtype=np.float32)


class Blobs:
    """The vectors as the gallery's store has them: SQLite blobs by primary key."""

    def __init__(self, folder: Path, dimension: int) -> None:
        self._db = sqlite3.connect(
            folder / "vectors.db", check_same_thread=False, isolation_level=None
        )
        self._dimension = dimension
        for line in (
            "PRAGMA synchronous = OFF",
            "CREATE TABLE items (key INTEGER PRIMARY KEY, embedding BLOB)",
        ):
            self._db.execute(line)

    def add(self, keys: Keys, vectors: Vectors) -> None:
        """Store vectors."""
        self._db.execute("BEGIN")
        rows = ((key, row.tobytes()) for key, row in zip(keys.tolist(), vectors, strict=True))
        self._db.executemany("INSERT INTO items VALUES (?, ?)", rows)
        self._db.execute("COMMIT")

    def fetch(self, keys: Keys) -> Vectors:
        """The vectors of these keys."""
        query = "SELECT key, embedding FROM items WHERE key IN (SELECT value FROM json_each(?))"
        blobs = dict(self._db.execute(query, [json.dumps(keys.tolist())]).fetchall())
        gone = np.full(self._dimension, np.nan, np.float32).tobytes()
        joined = b"".join(blobs.get(key, gone) for key in keys.tolist())
        return np.frombuffer(joined, np.float32).reshape(len(keys), self._dimension)

    def all(self) -> Iterator[tuple[Keys, Vectors]]:
        """Everything, in chunks."""
        cursor = self._db.execute("SELECT key, embedding FROM items ORDER BY key")
        while rows := cursor.fetchmany(CHUNK):
            keys = np.array([key for key, _ in rows], np.int64)
            yield (
                keys,
                np.frombuffer(b"".join(blob for _, blob in rows), np.float32).reshape(
                    len(rows), -1
                ),
            )


def seconds(work: Callable[[], object]) -> float:
    """How long a piece of work takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def latency(search: Search, queries: Vectors, runs: int) -> float:
    """Median milliseconds of one query alone."""
    taken = [seconds(partial(search, queries[i : i + 1])) for i in range(runs)]
    return 1e3 * float(np.median(taken))


def pace(search: Search, queries: Vectors, runs: int = 5) -> float:
    """Median milliseconds of a query in batches of 64."""
    return 1e3 / 64 * float(np.median([seconds(lambda: search(queries[:64])) for _ in range(runs)]))


def recall(found: Keys, truth: Keys) -> float:
    """Recall@10: the share of the true keys [Q, 10] that were found [Q, 10]; -1 in the truth does
    not count.
    """
    hits = sum(
        len(set(mine.tolist()) & set(its.tolist()) - {-1})
        for mine, its in zip(found, truth, strict=True)
    )
    return hits / int((truth >= 0).sum())


@dataclass
class Bench:
    """All that the measurements share."""

    world: World
    blobs: Blobs
    folder: Path
    flat: Any
    cameras: NDArray[np.int64]
    queries: Vectors
    query_cameras: NDArray[np.int64]
    truth: Keys
    runs: int

    @property
    def size(self) -> int:
        """Vectors."""
        return len(self.cameras)

    def exactly(self, queries: Vectors, selector: Any = None) -> Keys:
        """The keys that FAISS' flat index finds, from 1."""
        make: Any = faiss.SearchParameters
        parameters = None if selector is None else make(sel=selector)
        found: Keys = self.flat.search(queries, K, params=parameters)[1]
        return np.where(found >= 0, found + 1, -1)


def prepare(folder: Path, given: argparse.Namespace) -> Bench:
    """Make the world, the store, the flat index and the truth."""
    world, blobs = (
        World(given.size, given.dimension, given.noise, given.per),
        Blobs(folder, given.dimension),
    )
    flat, cameras = faiss.IndexFlatIP(given.dimension), []
    for start in range(0, given.size, CHUNK):
        vectors, camera = world.shots(min(CHUNK, given.size - start))
        blobs.add(np.arange(start + 1, start + 1 + len(vectors)), vectors)
        flat.add(vectors)
        cameras.append(camera)
    queries, query_cameras = world.shots(given.queries)
    bench = Bench(
        world,
        blobs,
        folder,
        flat,
        np.concatenate(cameras),
        queries,
        query_cameras,
        np.empty(0, np.int64),
        given.runs,
    )
    bench.truth = bench.exactly(queries)
    return bench


def build(bench: Bench, quantization: Quantization, target: float) -> tuple[VectorIndex, float]:
    """An index of all in the store, and the seconds it took."""
    rescore = None if quantization is Quantization.FLOAT32 else bench.blobs.fetch
    index = VectorIndex(bench.flat.d, quantization=quantization, recall=target, rescore=rescore)

    def fill() -> None:
        with index.fill():
            for keys, vectors in bench.blobs.all():
                index.add(keys, vectors)

    return index, seconds(fill)


def measure(bench: Bench, quantization: Quantization, targets: list[float]) -> Iterator[Point]:
    """Everything about one quantization; the first target is what the index is built for."""
    index, took = build(bench, quantization, targets[0])
    print(
        f"\n{quantization}: built in {took:.1f} s, "
        f"{index.memory / bench.flat.ntotal / bench.flat.d / 4:.3f} of float32's memory",
        flush=True,
    )
    yield against_flat(bench, index, targets[0])
    load(bench, index, took)
    filters(bench, index)
    for target in targets[1:]:
        index.tune(target)
        yield point(bench, index, f"recall {target}")
    index.tune(targets[0])
    if index.rescore is not None:
        index.rescore = None
        yield point(bench, index, f"recall {targets[0]}")
        index.rescore = bench.blobs.fetch
    measure_adding(bench, index)
    index.close()


def make_search(index: VectorIndex, **options: Any) -> Search:
    """The index's search as a function of the queries."""
    return lambda queries: index.search(queries, K, **options)[1]


def point(bench: Bench, index: VectorIndex, setting: str) -> Point:
    """Recall, memory and speed of the index as it is."""
    bare = index.rescore is None and index.quantization is not Quantization.FLOAT32
    name = f"trireid {index.quantization}" + (" without rescoring" if bare else "")
    return measure_point(bench, name, setting, index.memory / len(index), make_search(index))


def against_flat(bench: Bench, index: VectorIndex, target: float) -> Point:
    """Flat and ours by turns, three times each, since the machine is not alone."""
    turns = []
    for _ in range(3):
        flat = latency(bench.exactly, bench.queries, 8), pace(bench.exactly, bench.queries, 1)
        ours = point(bench, index, f"recall {target}")
        turns.append((*flat, flat[0] / ours.single, flat[1] / ours.batch, ours))
    single, batch, faster_single, faster_batch = (
        float(np.median([turn[i] for turn in turns])) for i in range(4)
    )
    ours = sorted((turn[4] for turn in turns), key=lambda one: one.single)[1]
    print(
        f"  recall@10 {ours.recall:.4f}; one query {ours.single:.2f} ms, "
        f"flat {single:.1f} ms: {faster_single:.1f} times faster"
    )
    print(
        f"  in batches of 64 {ours.batch:.2f} ms a query, flat {batch:.2f} ms: "
        f"{faster_batch:.1f} times faster",
        flush=True,
    )
    return ours


def load(bench: Bench, index: VectorIndex, took: float) -> None:
    """Saving, and loading against building."""
    path = bench.folder / f"{index.quantization}.index"
    saving = seconds(lambda: index.save(path))
    options: dict[str, Any] = {"quantization": index.quantization, "recall": index.recall}
    loading = float(
        np.median(
            [seconds(lambda: VectorIndex.load(path, bench.flat.d, **options)) for _ in range(3)]
        )
    )
    print(
        f"  saved in {saving:.2f} s, loaded in {loading:.2f} s: "
        f"{took / loading:.1f} times faster than building",
        flush=True,
    )
    path.unlink()


def filters(bench: Bench, index: VectorIndex) -> None:
    """Recall and milliseconds of one query where few pass and where most do; the last filter is
    each query's own.
    """
    draw = np.random.default_rng(1)
    for share in (1e-4, 1e-2, 0.3):
        include = 1 + np.flatnonzero(draw.random(bench.size) < share)
        few = bench.queries[:32]
        found = recall(
            make_search(index, include=include)(few),
            bench.exactly(few, faiss.IDSelectorBatch(include - 1)),
        )
        taken = latency(make_search(index, include=include), bench.queries, 16)
        print(
            f"  filter that passes {len(include)} of {bench.size}: recall {found:.4f}, "
            f"{taken:.2f} ms",
            flush=True,
        )
    other_cameras(bench, index)


def other_cameras(bench: Bench, index: VectorIndex) -> None:
    """Not the query's own camera, as the keys that may be found and as those that may not."""
    for way in ("exclude", "include"):
        found, truth, taken = [], [], []
        for query, camera in zip(bench.queries[:64, None], bench.query_cameras[:64], strict=True):
            own = bench.cameras == camera
            given = {way: 1 + np.flatnonzero(own if way == "exclude" else ~own)}
            search = make_search(index, **given)
            found.append(search(query))
            taken.append(seconds(partial(search, query)))
            truth.append(
                bench.exactly(
                    query, faiss.IDSelectorNot(faiss.IDSelectorBatch(np.flatnonzero(own)))
                )
            )
        share = recall(np.concatenate(found), np.concatenate(truth))
        print(
            f"  not the query's own camera ({way}): recall {share:.4f}, "
            f"{1e3 * np.median(taken):.2f} ms",
            flush=True,
        )


def measure_adding(bench: Bench, index: VectorIndex) -> None:
    """Latency of single queries while vectors are added, against a quiet index, by turns."""
    vectors, _ = bench.world.shots(ADDED)
    first, search, rounds = bench.size + 1, make_search(index), 4
    quiet: list[float] = []
    busy: list[float] = []
    parts = np.array_split(np.arange(ADDED), rounds)
    taken = 0.0
    for part in parts:
        quiet += [
            seconds(partial(search, bench.queries[i % len(bench.queries)][None]))
            for i in range(100)
        ]
        writer = threading.Thread(target=index.add, args=(first + part, vectors[part]))
        start = time.perf_counter()
        writer.start()
        while writer.is_alive():
            busy.append(
                seconds(lambda: search(bench.queries[len(busy) % len(bench.queries)][None]))
            )
        taken += time.perf_counter() - start
    (q50, q95), (b50, b95) = (1e3 * np.percentile(times, [50, 95]) for times in (quiet, busy))
    print(
        f"  while {ADDED} are added ({taken:.1f} s): median {b50:.2f} ms, "
        f"quiet {q50:.2f} ms: {b50 / q50:.2f} times;",
        end=" ",
    )
    print(f"95th percentile {b95:.2f} against {q95:.2f} ms: {b95 / q95:.2f} times", flush=True)


class FaissAlone:
    """A rival of FAISS' own parts: its factory's index, a flat tail for new vectors, rebuilt when
    the tail is a twentieth of all. It removes nothing, and no thread may search while it changes.
    """

    def __init__(self, dimension: int, cells: int) -> None:
        self._name = f"IVF{cells},RaBitQ,Refine(SQ8)"
        self._dimension, self._vectors = dimension, list[Vectors]()
        self._main, self._tail = faiss.IndexFlatIP(dimension), faiss.IndexFlatIP(dimension)
        self.probes, self.factor = 16, 8

    def rebuild(self, all_vectors: Iterator[Vectors]) -> None:
        """Build the index of all vectors, and empty the tail."""
        parts = list(all_vectors)
        main: Any = faiss.index_factory(self._dimension, self._name, faiss.METRIC_INNER_PRODUCT)
        draw = np.random.default_rng(0)
        share = min(1.0, 40 * faiss.extract_index_ivf(main).nlist / sum(map(len, parts)))
        main.train(np.concatenate([part[draw.random(len(part)) < share] for part in parts]))
        for part in parts:
            main.add(part)
        self._main, self._tail = main, faiss.IndexFlatIP(self._dimension)

    def add(self, vectors: Vectors) -> None:
        """Put vectors into the tail."""
        self._tail.add(vectors)

    @property
    def memory(self) -> int:
        """Bytes: the size of the file, and the tail."""
        size = len(faiss.serialize_index(self._main))
        return size + 4 * self._dimension * self._tail.ntotal

    def search(self, queries: Vectors) -> Keys:
        """Keys [Q, 10], from 1."""
        faiss.omp_set_num_threads(1 if len(queries) == 1 else MAX_THREADS)
        base = faiss.SearchParametersIVF(nprobe=self.probes)  # type: ignore[call-arg]
        given = faiss.IndexRefineSearchParameters(  # type: ignore[call-arg]
            k_factor=self.factor, base_index_params=base
        )
        scores, keys = self._main.search(queries, K, params=given)
        if self._tail.ntotal:
            more, places = self._tail.search(queries, K)
            scores = np.concatenate([scores, more], 1)
            keys = np.concatenate([keys, places + self._main.ntotal], 1)
            keys = np.take_along_axis(keys, np.argsort(-scores, 1)[:, :K], 1)
        faiss.omp_set_num_threads(MAX_THREADS)
        return np.asarray(keys, np.int64) + 1


def faiss_alone(bench: Bench) -> Iterator[Point]:
    """The rival of FAISS' own parts, then against ours in int8 by turns, then with a full tail."""
    rival = FaissAlone(bench.flat.d, round(2 * bench.size**0.5))
    took = seconds(lambda: rival.rebuild(vectors for _, vectors in bench.blobs.all()))
    print(f"\n{FaissAlone.__name__}: built in {took:.1f} s", flush=True)
    memory = rival.memory / bench.size
    for rival.probes, rival.factor in ((2, 2), (4, 4), (8, 4), (16, 8), (32, 8), (64, 16)):
        setting = f"probes {rival.probes}, factor {rival.factor}"
        yield measure_point(bench, "faiss IVF,RaBitQ,Refine(SQ8)", setting, memory, rival.search)
    rival.probes, rival.factor = 16, 8
    index, _ = build(bench, Quantization.INT8, 0.99)
    for rescores in (True, False):
        index.rescore = bench.blobs.fetch if rescores else None
        turns = [
            [latency(how, bench.queries, bench.runs) for how in (make_search(index), rival.search)]
            for _ in range(7)
        ]
        ours, theirs = np.median(turns, axis=0)
        print(
            f"  by turns, one query: int8 {'with' if rescores else 'without'} rescoring "
            f"{ours:.3f} ms (recall {recall(make_search(index)(bench.queries), bench.truth):.4f}), "
            f"theirs {theirs:.3f} ms "
            f"(recall {recall(rival.search(bench.queries), bench.truth):.4f})",
            flush=True,
        )
    index.close()
    vectors, _ = bench.world.shots(bench.size // 20)
    before = latency(rival.search, bench.queries, bench.runs)
    taken = seconds(lambda: rival.add(vectors))
    after = latency(rival.search, bench.queries, bench.runs)
    print(
        f"  a twentieth added in {taken:.2f} s: one query {after:.2f} ms, before {before:.2f} ms: "
        f"{after / before:.1f} times; then it has to be rebuilt",
        flush=True,
    )


def hnsw(bench: Bench) -> Iterator[Point]:
    """hnswlib, where it is installed."""
    try:
        hnswlib = import_module("hnswlib")
    except ImportError:
        print("\nhnswlib is not installed: pip install hnswlib")
        return
    graph = hnswlib.Index("ip", bench.flat.d)
    graph.init_index(bench.size, ef_construction=100, M=16)
    took = seconds(lambda: [graph.add_items(vectors, keys) for keys, vectors in bench.blobs.all()])
    path = bench.folder / "hnsw"
    graph.save_index(str(path))
    print(f"\nhnswlib: built in {took:.1f} s")
    for width in (10, 20, 40, 80, 160, 320):
        graph.set_ef(width)

        def search(queries: Vectors) -> Keys:
            graph.set_num_threads(1 if len(queries) == 1 else faiss.omp_get_max_threads())
            found: Keys = graph.knn_query(queries, K)[0].astype(np.int64)
            return found

        yield measure_point(
            bench, "hnswlib M16", f"ef {width}", path.stat().st_size / bench.size, search
        )
    for quantization in (Quantization.FLOAT32, Quantization.INT8):
        by_turns(bench, quantization, graph, search)


def by_turns(bench: Bench, quantization: Quantization, graph: Any, search: Search) -> None:
    """Ours and hnswlib by turns, seven times each, at the least `ef` that finds as much as ours:
    the ratio of the times.
    """
    index, _ = build(bench, quantization, 0.99)
    found = recall(make_search(index)(bench.queries), bench.truth)
    for width in range(10, 320, 2):
        graph.set_ef(width)
        if (theirs := recall(search(bench.queries), bench.truth)) >= found:
            break
    print(
        f"  {quantization} (recall {found:.4f}) and hnswlib (ef {width}, {theirs:.4f}), by turns:"
    )
    for name, timed, runs in (("one query", latency, 60), ("in batches", pace, 5)):
        times = np.array(
            [
                [timed(how, bench.queries, runs) for how in (make_search(index), search)]
                for _ in range(7)
            ]
        )
        ratios, ours = np.sort(times[:, 0] / times[:, 1]), np.median(times[:, 0])
        print(
            f"    {name} {ours:.3f} ms: {ratios[3]:.2f} times hnswlib's "
            f"({ratios[0]:.2f} to {ratios[-1]:.2f})",
            flush=True,
        )
    index.close()


def usearch(bench: Bench) -> Iterator[Point]:
    """usearch in float32 and int8, where it is installed."""
    try:
        graph_of = import_module("usearch.index").Index
    except ImportError:
        print("\nusearch is not installed: pip install usearch")
        return
    for kind in ("f32", "i8"):
        graph = graph_of(
            ndim=bench.flat.d, metric="cos", dtype=kind, connectivity=16, expansion_add=100
        )

        def fill(graph: Any = graph) -> None:
            for keys, vectors in bench.blobs.all():
                graph.add(keys, vectors)

        took = seconds(fill)
        print(f"\nusearch {kind}: built in {took:.1f} s")
        for width in (10, 20, 40, 80, 160, 320):
            graph.expansion_search = width

            def search(queries: Vectors, graph: Any = graph) -> Keys:
                found: Keys = np.asarray(graph.search(queries, K).keys).astype(np.int64)
                return found.reshape(len(queries), -1)

            yield measure_point(
                bench,
                f"usearch {kind}",
                f"expansion {width}",
                graph.memory_usage / bench.size,
                search,
            )


def measure_point(bench: Bench, name: str, setting: str, memory: float, search: Search) -> Point:
    """Recall, memory and speed of an index, ours or another library's."""
    found = recall(search(bench.queries), bench.truth)
    return Point(
        name,
        setting,
        found,
        memory,
        latency(search, bench.queries, bench.runs),
        pace(search, bench.queries),
    )


def flat_point(bench: Bench) -> Point:
    """Exact search, as a point."""
    times = latency(bench.exactly, bench.queries, 8), pace(bench.exactly, bench.queries, 1)
    return Point("faiss IndexFlatIP", "-", 1.0, 4.0 * bench.flat.d, *times)


def write_table(path: Path, points: list[Point]) -> None:
    """All points as CSV."""
    with path.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, list(asdict(points[0])), lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {name: round(v, 4) if isinstance(v, float) else v for name, v in asdict(p).items()}
            for p in points
        )


def plot(path: Path, points: list[Point], title: str) -> None:
    """Milliseconds over recall, a line per index, its memory in the legend."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(11, 5.5), sharey=True)
    for axis, name in zip(axes, ("single", "batch"), strict=True):
        for index in dict.fromkeys(point.index for point in points):
            own = sorted(
                (point for point in points if point.index == index), key=lambda point: point.recall
            )
            label = f"{index}: {own[0].bytes:.0f} bytes a vector"
            axis.plot(
                [point.recall for point in own],
                [getattr(point, name) for point in own],
                "o-",
                label=label,
                ms=4,
            )
        axis.set(
            yscale="log",
            xlabel="recall@10",
            title={"single": "one query", "batch": "in batches of 64"}[name],
        )
        axis.grid(alpha=0.3, which="both")
    axes[0].set_ylabel("milliseconds a query")
    figure.suptitle(title)
    figure.tight_layout(rect=(0, 0.15, 1, 1))
    figure.legend(*axes[0].get_legend_handles_labels(), fontsize=8, loc="lower center", ncols=3)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gallery", description="the gallery's index against exact search"
    )
    parser.add_argument("--size", type=int, default=100_000)
    parser.add_argument("--dimension", type=int, default=768)
    parser.add_argument("--noise", type=float, default=0.5)
    parser.add_argument("--per", type=int, default=20, help="shots an identity")
    parser.add_argument("--queries", type=int, default=400)
    parser.add_argument("--runs", type=int, default=100, help="single queries that are timed")
    parser.add_argument("--quantization", nargs="*", type=Quantization, default=list(Quantization))
    parser.add_argument("--recall", nargs="+", type=float, default=[0.99, 0.9, 0.95, 0.999])
    parser.add_argument("--compare", action="store_true", help="also FAISS alone, hnswlib, usearch")
    parser.add_argument("--table", type=Path)
    parser.add_argument("--plot", type=Path)
    given = parser.parse_args()
    title = f"{given.size} x {given.dimension}, noise {given.noise}"
    with tempfile.TemporaryDirectory() as folder:
        bench = prepare(Path(folder), given)
        print(title, flush=True)
        points = [flat_point(bench)]
        for quantization in given.quantization:
            points += measure(bench, quantization, given.recall)
        if given.compare:
            points += [*faiss_alone(bench), *hnsw(bench), *usearch(bench)]
    if given.table:
        write_table(given.table, points)
    if given.plot:
        plot(given.plot, points, title)


if __name__ == "__main__":
    main()
