"""Export to ONNX: one file with the card inside, left behind only if it has shown that it is the same network."""

from __future__ import annotations

import logging
import os
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from evaluation import normalise
from export.artifact import load_artifact
from export.card import INPUTS, METADATA_KEY, OUTPUTS, Card
from export.graph import ArtifactGraph
from export.network_card import card_of, fingerprint
from models import ReIdNetwork
from samples import ArtifactError, Kind

#: 23 has Gelu and Attention as single operators: a default network runs in 8.1 ms instead of 12.8 with opset 18.
OPSET = 23
TOLERANCE = 1e-4
BATCHES = (1, 2, 5)
TIES = 1  # patches of a kept set that may differ: scores at the boundary can be equal up to rounding
_CELL = 8  # pixels of one colour in a trial picture
_PRECISIONS = ("fp32",)


def export_onnx(
    network: ReIdNetwork,
    path: str | PathLike[str],
    *,
    precision: str = "fp32",
    batch: int | None = None,
    name: str | None = None,
    kind: Kind | None = None,
    measured: Mapping[str, Any] | None = None,
) -> Card:
    """Export a network and verify the artifact against it; the file appears only if it agrees.

    `batch`: a fixed batch size, None for a dynamic one. `name`, `kind`, `measured` go into the card. Agreement is checked in
    ONNX Runtime at batch 1, 2 and 5 (or the fixed one), with modalities and cameras missing: every embedding within 1e-4,
    the same kept patches but for ties. Raises ArtifactError where it does not hold, ValueError for an unknown precision.
    """
    if precision not in _PRECISIONS:
        raise ValueError(f"precision: {precision!r} is not one of {', '.join(_PRECISIONS)}")
    target = Path(path)
    graph = ArtifactGraph(network.eval()).eval()
    card = card_of(network, name or target.stem, kind, precision)
    card = replace(card, fingerprint=fingerprint(network, card))
    with tempfile.TemporaryDirectory(dir=_folder_of(target), prefix=".export-") as folder:
        draft = Path(folder) / target.name
        _write(_traced(graph, batch), card, draft)
        worst = _verify(network, draft, BATCHES if batch is None else (batch,))
        card = replace(card, measured={**(measured or {}), "onnx_max_difference": worst})
        _write(onnx.load(draft), card, draft)
        os.replace(draft, target)
    return card


def _folder_of(target: Path) -> Path:
    if not target.parent.is_dir():
        raise ArtifactError(f"{target}: the folder {target.parent} does not exist", str(target))
    return target.parent


def _traced(graph: ArtifactGraph, batch: int | None) -> onnx.ModelProto:
    height, width = graph.network.config.image_size
    size = batch or 2
    example = (
        torch.zeros(size, 3, height, width, 3, dtype=torch.uint8),
        torch.full((size,), -1, dtype=torch.int64),
        torch.ones(size, 3, dtype=torch.bool),
    )
    dynamic = None if batch else tuple({0: torch.export.Dim("batch")} for _ in INPUTS)
    for chatty in ("torch.onnx", "onnxscript"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's notes to its own developers
        program = torch.onnx.export(
            graph,
            example,
            input_names=INPUTS,
            output_names=OUTPUTS,
            opset_version=OPSET,
            dynamo=True,
            dynamic_shapes=dynamic,
            verbose=False,
            external_data=False,
        )
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    _strip(model)
    if batch is None:
        _assert_dynamic(model)
    return model


def _strip(model: onnx.ModelProto) -> None:
    """Drop the exporter's notes (stack traces with paths of the exporting machine): the file depends on the network alone."""
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer):
        del value.metadata_props[:]
        value.doc_string = ""
    del model.graph.metadata_props[:]
    del model.metadata_props[:]
    model.doc_string = model.graph.doc_string = ""


def _assert_dynamic(model: onnx.ModelProto) -> None:
    for value in (*model.graph.input, *model.graph.output):
        if not value.type.tensor_type.shape.dim[0].dim_param:
            raise ArtifactError(f"the exporter fixed the batch of {value.name}: this is a bug, please report it", value.name)


def _write(model: onnx.ModelProto, card: Card, path: Path) -> None:
    onnx.helper.set_model_props(model, {METADATA_KEY: card.to_json()})
    onnx.checker.check_model(model)
    with path.open("wb") as file:
        file.write(model.SerializeToString())
        file.flush()
        os.fsync(file.fileno())


def _verify(network: ReIdNetwork, path: Path, batches: Sequence[int]) -> float:
    """The largest difference of any embedding element between PyTorch and ONNX Runtime. Raises ArtifactError over tolerance.

    The network is asked itself, with pictures normalised here: a fault of the graph around it shows, too.
    """
    embedder = load_artifact(path, provider="cpu")
    differences = []
    for size in batches:
        images, camera, present = _trial(network, size)
        expected, kept = _expected(network, images, camera, present)
        got, tokens = embedder.run(images, camera, present)
        if got.shape != expected.shape or tokens.shape[:2] != (size, 3):
            raise ArtifactError(f"the export gives {got.shape} and {tokens.shape} at batch {size}, PyTorch {expected.shape}")
        differences.append(float(np.abs(got - expected).max()))
        if not differences[-1] <= TOLERANCE:  # so written that NaN fails, too
            raise ArtifactError(
                f"the export differs from PyTorch by {differences[-1]:.2g} at batch {size} (at most {TOLERANCE})"
            )
        if kept is not None and _most_swapped(tokens, kept) > TIES:
            raise ArtifactError(f"the export keeps other patches than PyTorch at batch {size}")
    return max(differences)


def _expected(
    network: ReIdNetwork, images: NDArray[np.uint8], camera: NDArray[np.int64], present: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.int64] | None]:
    """What the network makes of a batch: unit embeddings [B, D], and the kept patches [B, 3, K] where it has SDTPS."""
    mean, std = (np.array(values, np.float32) for values in (network.config.mean, network.config.std))
    normal = torch.from_numpy((images.astype(np.float32) / 255 - mean) / std).permute(0, 1, 4, 2, 3)
    with torch.inference_mode():
        features = network.features(normal, torch.from_numpy(camera), torch.from_numpy(present))
    selections = features.selections
    kept = None if selections is None else np.stack([selection.kept.numpy() for selection in selections], axis=1)
    return normalise(features.both.numpy()), kept


def _most_swapped(tokens: NDArray[np.int64], expected: NDArray[np.int64]) -> int:
    """How many of the K kept patches differ at worst, over samples and modalities [B, 3, K]."""
    pairs = zip(tokens.reshape(-1, tokens.shape[-1]), expected.reshape(-1, tokens.shape[-1]), strict=True)
    return max(len(np.setdiff1d(a, b)) for a, b in pairs)


def _trial(network: ReIdNetwork, size: int) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.bool_]]:
    """Smooth random pictures, cameras (unknown among them) and presence masks."""
    config, draw = network.config, np.random.default_rng(size)
    height, width = config.image_size
    cells = draw.integers(0, 256, (size, 3, -(-height // _CELL), -(-width // _CELL), 3), dtype=np.uint8)
    coarse = cells.repeat(_CELL, axis=2).repeat(_CELL, axis=3)[:, :, :height, :width]
    images = coarse ^ draw.integers(0, 32, (size, 3, height, width, 3), dtype=np.uint8)
    present = draw.random((size, 3)) < 0.7
    present[~present.any(axis=1), 0] = True
    return images, draw.integers(-1, max(1, config.cameras), size), present
