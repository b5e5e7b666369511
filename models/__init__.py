"""The networks of the family, in PyTorch: backbone, token selection, embedding, checkpoints."""

from models.checkpoints import load_checkpoint, published_state
from models.config import Backbone, Head, NetworkConfig
from models.network import Features, ReIdNetwork
from models.research_yaml import network_config, read_research_yaml, yaml_of
from models.start import load_start_weights
from models.yaml_file import read_yaml

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
