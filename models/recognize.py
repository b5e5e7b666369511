"""The network that a checkpoint looks like, by its keys, for error messages."""

from __future__ import annotations

from collections.abc import Iterable

_SIGNS = (
    ("sdtps.", "an SDTPS network of the family (sdtps.*)"),
    ("generalFusion.moe.", "a DeMo network with HDM and ATMoE (generalFusion.moe.*)"),
    ("generalFusion.", "a DeMo network with HDM (generalFusion.*)"),
    ("BACKBONE.", "a backbone of the family without a head (BACKBONE.*)"),
    (
        "visual.",
        "OpenAI's CLIP, images and texts (visual.*): pretrained weights for training, not a ReID "
        "network",
    ),
    ("image_encoder.", "a CLIP-ReID network (image_encoder.*)"),
    ("base.", "a TransReID network (base.*)"),
    (
        "cls_token",
        "a plain ViT of timm (cls_token): pretrained weights for training, not a ReID network",
    ),
    (
        "class_embedding",
        "a plain CLIP ViT (class_embedding): pretrained weights for training, not a ReID network",
    ),
)


def describe_keys(keys: Iterable[str]) -> str:
    """Describe the network that has these keys in a few words."""
    names = list(keys)
    return next(
        (words for prefix, words in _SIGNS if any(name.startswith(prefix) for name in names)),
        "none that is known",
    )
