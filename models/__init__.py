"""The networks of the family, in PyTorch: backbone, token selection, embedding, checkpoints."""

from models.checkpoints import load_checkpoint, published_state
from models.config import Head, NetworkConfig, network_config, read_yaml, yaml_of
from models.network import Features, ReIdNetwork

__all__ = [
    "Features",
    "Head",
    "NetworkConfig",
    "ReIdNetwork",
    "load_checkpoint",
    "network_config",
    "published_state",
    "read_yaml",
    "yaml_of",
]
