"""The networks of the family, in PyTorch: backbone, token selection, embedding, checkpoints."""

from trireid.models.checkpoints import get_published_state, load_checkpoint
from trireid.models.config import Backbone, Head, NetworkConfig, make_vit_small
from trireid.models.network import Features, ReIdNetwork
from trireid.models.pretrained import load_pretrained_weights
from trireid.models.research_yaml import network_config, read_research_yaml, to_research_yaml
from trireid.models.yaml_file import read_yaml

__all__ = [
    "Backbone",
    "Features",
    "Head",
    "NetworkConfig",
    "ReIdNetwork",
    "get_published_state",
    "load_checkpoint",
    "load_pretrained_weights",
    "make_vit_small",
    "network_config",
    "read_research_yaml",
    "read_yaml",
    "to_research_yaml",
]
