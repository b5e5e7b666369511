"""Tracing: the network as an ONNX graph with static shapes but for the batch. Needs torch."""

from __future__ import annotations

import ast
import logging
import warnings
from typing import Final

import onnx
import torch
from torch import Tensor, nn

from trireid.inference.card import INNER_STAGES, INPUTS, OUTPUTS
from trireid.models import Head, ReIdNetwork
from trireid.models.layers import normalize
from trireid.samples import ArtifactError

#: 23 has Gelu and Attention as single operators: a default network runs in 8.1 ms instead of 12.8
#: with opset 18.
OPSET: Final = 23
#: Metadata key of the exporter: the modules that a node came from.
_WRAPPER: Final = "artifact."
_SCOPES: Final = "pkg.torch.onnx.name_scopes"


class ArtifactGraph(nn.Module):
    """Normalisation, network (pattern 3) and L2 norm, in one graph with static shapes but for the
    batch.
    """

    def __init__(self, network: ReIdNetwork) -> None:
        super().__init__()
        self.network = network
        mean, std = (torch.tensor(values) for values in (network.config.mean, network.config.std))
        self.scale = nn.Buffer(1 / (255 * std), persistent=False)
        self.shift = nn.Buffer(-mean / std, persistent=False)

    def forward(self, images: Tensor, camera: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Images uint8 [B, 3, H, W, 3], camera int64 [B], present bool [B, 3] -> embedding [B, D],
        tokens int64 [B, 3, K].

        A network without SDTPS keeps every patch: its tokens are 0 to N - 1.
        """
        stages = self.stages(images, camera, present)
        return stages["embedding"], stages["selected_patches"]

    def stages(self, images: Tensor, camera: Tensor, present: Tensor) -> dict[str, Tensor]:
        """Return every stage by name, as in `trireid.inference.card.STAGES`; a network without
        SDTPS has no scores.
        """
        # The cast comes first: TensorRT can do nothing else with bytes.
        normal = (images.float() * self.scale + self.shift).permute(0, 1, 4, 2, 3)
        features = self.network.features(normal, camera, present)
        scores = {}
        if features.selections is None:
            tokens = torch.arange(self.network.config.patches).expand(images.shape[0], 3, -1)
        else:
            tokens = torch.stack([each.selected_patches for each in features.selections], dim=1)
            scores["scores"] = torch.stack([each.scores for each in features.selections], dim=1)
        return {
            "input": normal,
            "tokens": features.tokens,
            **scores,
            "selected_patches": tokens,
            "embedding": normalize(features.both),
        }


class _Staged(nn.Module):
    """The graph with its inner stages as further outputs, so that their values get names."""

    def __init__(self, graph: ArtifactGraph) -> None:
        super().__init__()
        self.artifact = graph  # `graph` would clash with a name of the exporter

    def forward(self, images: Tensor, camera: Tensor, present: Tensor) -> tuple[Tensor, ...]:
        """The two outputs, then the inner stages that the network has."""
        stages = self.artifact.stages(images, camera, present)
        return (
            stages["embedding"],
            stages["selected_patches"],
            *(stages[name] for name in INNER_STAGES if name in stages),
        )


def trace(graph: ArtifactGraph, batch: int | None) -> onnx.ModelProto:
    """Trace a graph as ONNX.

    The inner stages are values of known names (`trireid.inference.card.INNER_STAGES`), not outputs.
    Nodes are named after the modules that they came from.

    Args:
        graph: The network.
        batch: A fixed batch size; None for a dynamic one.

    Raises:
        ArtifactError: The exporter fixed the batch.
    """
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
            _Staged(graph),
            example,
            input_names=INPUTS,
            output_names=_name_outputs(graph),
            opset_version=OPSET,
            dynamo=True,
            dynamic_shapes=dynamic,
            verbose=False,
            external_data=False,
        )
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    del model.graph.output[len(OUTPUTS) :]
    _name_nodes(model)
    _strip(model)
    if batch is None:
        _assert_dynamic(model)
    return model


def _name_outputs(graph: ArtifactGraph) -> list[str]:
    scored = graph.network.config.head is Head.SDTPS
    return [
        *OUTPUTS,
        *(value for name, value in INNER_STAGES.items() if scored or name != "scores"),
    ]


def _name_nodes(model: onnx.ModelProto) -> None:
    """Name each node after the module it came from, as in `network.sdtps.rgb_aggr/MatMul.12`."""
    for number, node in enumerate(model.graph.node):
        scopes = next((each.value for each in node.metadata_props if each.key == _SCOPES), "")
        node.name = f"{_module(scopes)}/{node.op_type}.{number}"


def _module(scopes: str) -> str:
    """The innermost module of the exporter's list of scopes, which is written as Python writes a
    list.
    """
    modules = [each for each in ast.literal_eval(scopes or "[]") if each.startswith(_WRAPPER)]
    return modules[-1].removeprefix(_WRAPPER) if modules else "graph"


def _strip(model: onnx.ModelProto) -> None:
    """Drop the exporter's notes (stack traces with paths of the exporting machine): the file
    depends on the network alone.
    """
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (
        *model.graph.value_info,
        *model.graph.input,
        *model.graph.output,
        *model.graph.initializer,
    ):
        del value.metadata_props[:]
        value.doc_string = ""
    del model.graph.metadata_props[:]
    del model.metadata_props[:]
    model.doc_string = model.graph.doc_string = ""


def _assert_dynamic(model: onnx.ModelProto) -> None:
    for value in (*model.graph.input, *model.graph.output):
        if not value.type.tensor_type.shape.dim[0].dim_param:
            raise ArtifactError(
                f"the exporter fixed the batch of {value.name}: this is a bug, please report it",
                value.name,
            )
