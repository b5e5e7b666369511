"""The network that a checkpoint looks like, by its keys, for error messages."""

from __future__ import annotations

import re
from collections.abc import Iterable

_START = "pretrained weights for training, not a ReID network"
#: Beginnings of keys, as patterns, and the networks that have such a key.
_SIGNS = (
    (r"sdtps\.", "an SDTPS network of the family (sdtps.*)"),
    (r"generalFusion\.moe\.", "a DeMo network with HDM and ATMoE (generalFusion.moe.*)"),
    (r"generalFusion\.", "a DeMo network with HDM (generalFusion.*)"),
    (r"BACKBONE\.", "a backbone of the family without a head (BACKBONE.*)"),
    (r"visual\.", f"OpenAI's CLIP, images and texts (visual.*): {_START}"),
    (r"image_encoder\.", "a CLIP-ReID network (image_encoder.*)"),
    (r"base\.", "a TransReID network (base.*)"),
    (r"storage_tokens|rope_embed\.", f"a plain DINOv3 ViT (storage_tokens): {_START}"),
    (
        r"(model\.)?layer\.\d+\.layer_scale1\.",
        f"a plain DINOv3 ViT of transformers (layer.*.layer_scale1): {_START}",
    ),
    (r"blocks\.\d+\.ls1\.gamma", f"a plain DINOv2 ViT (blocks.*.ls1.gamma): {_START}"),
    (
        r"(dinov2.*\.)?encoder\.layer\.\d+\.layer_scale1\.",
        f"a plain DINOv2 ViT of transformers (encoder.layer.*.layer_scale1): {_START}",
    ),
    (r"reg_token", f"a plain DINOv3 ViT of timm (reg_token): {_START}"),
    (r"cls_token", f"a plain ViT of timm (cls_token): {_START}"),
    (r"class_embedding", f"a plain CLIP ViT (class_embedding): {_START}"),
)
#: The number of a block within a key.
_BLOCK = re.compile(r"(?<=\.)\d+(?=\.)")


def describe_keys(keys: Iterable[str]) -> str:
    """Describe the network that has these keys in a few words."""
    names = list(keys)
    return next(
        (words for sign, words in _SIGNS if any(re.match(sign, name) for name in names)),
        "none that is known",
    )


def list_keys(keys: Iterable[str]) -> str:
    """List every key in one line: those of several blocks as `blocks.8-11.norm1.weight`."""
    numbers: dict[str, list[int]] = {}
    for key in sorted(keys):
        number = _BLOCK.search(key)
        blocks = numbers.setdefault(_BLOCK.sub("*", key, count=1), [])
        blocks += [int(number[0])] if number else []
    listed = [key.replace("*", _shorten(sorted(blocks))) for key, blocks in numbers.items()]
    return ", ".join(listed) or "none"


def _shorten(numbers: list[int]) -> str:
    if len(numbers) > 1 and numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"{numbers[0]}-{numbers[-1]}"
    return ",".join(map(str, numbers))
