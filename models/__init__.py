"""The networks of the family, in PyTorch: backbone, token selection, embedding, checkpoints."""

from trireid.models.checkpoints import load_checkpoint, published_state
from trireid.models.config import Backbone, Head, NetworkConfig
from trireid.models.network import Features, ReIdNetwork
from trireid.models.pretrained import load_start_weights
from trireid.models.research_yaml import network_config, read_research_yaml, yaml_of
from trireid.models.yaml_file import read_yaml

__all__ = [
    "Backbone",
    "Features",
    "Head",
    "NetworkConfig",
    "ReIdNetwork",
    "load_checkpoint",
    "load_start_weights",
    "network_config",
    "published_state",
    "read_research_yaml",
    "read_yaml",
    "yaml_of",
]
