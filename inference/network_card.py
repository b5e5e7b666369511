"""The card of a network of the family, and its fingerprint. Needs torch."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict

from trireid.inference.card import Card, Segment
from trireid.models import Head, NetworkConfig, ReIdNetwork
from trireid.models.demo_head import SUBSETS
from trireid.samples import MODALITIES, Kind


def card_of(network: ReIdNetwork, name: str, kind: Kind | None, precision: str = "fp32") -> Card:
    """The card of a network, without a fingerprint.

    The kind, where not given, follows the picture: upright is a person.
    """
    config = network.config
    height, width = config.image_size
    parts = segments(config)
    return Card(
        name=name,
        kind=kind or ("person" if height >= width else "vehicle"),
        image_size=config.image_size,
        grid=config.grid,
        kept=config.kept if config.head is Head.SDTPS else config.patches,
        cameras=config.cameras,
        mean=config.mean,
        std=config.std,
        dimension=parts[-1].stop,
        segments=parts,
        precision=precision,
    )


def fingerprint(network: ReIdNetwork, card: Card) -> str:
    """SHA-256 over the card, the whole configuration and every weight (name, shape, bytes): equal
    for equal networks.
    """
    digest = hashlib.sha256(card.identity().encode())
    digest.update(json.dumps(asdict(network.config), sort_keys=True).encode())
    for key, value in sorted(network.state_dict().items()):
        digest.update(f"{key}{list(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def segments(config: NetworkConfig) -> tuple[Segment, ...]:
    """The parts of the embedding, in its order: global features per modality, then the head's, per
    modality or subset.
    """
    parts: list[tuple[str, str]] = [(name, "global") for name in MODALITIES]
    if config.head is Head.SDTPS:
        parts += [(name, "head") for name in MODALITIES]
    elif config.head is not Head.NONE:
        parts += [
            ("+".join(MODALITIES[index] for index in subset), "head") for subset in SUBSETS.values()
        ]
    width = config.channels
    return tuple(
        Segment(name, branch, i * width, (i + 1) * width) for i, (name, branch) in enumerate(parts)
    )
