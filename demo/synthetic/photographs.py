"""Photographs for the backdrops of the varied world: those that scikit-image (public domain, CC0)
and scikit-learn (CC BY 2.0) bring along.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

_TEXTURES = ("gravel.png", "brick.png", "grass.png")
_VIEWS = ("rocket.jpg", "coffee.png", "chelsea.png", "astronaut.png", "motorcycle_left.png")
_LEARN_VIEWS = ("china.jpg", "china.jpg", "flower.jpg")  # a street-like one, twice as frequent


@lru_cache(maxsize=1)
def load_textures() -> tuple[Image.Image, ...]:
    """Load textures of ground and walls, grey, of mean 128.

    Raises:
        ModuleNotFoundError: A package that brings them is not installed.
    """
    folder = _find_folder("skimage", "scikit-image") / "data"
    return tuple(_flatten(Image.open(folder / name).convert("L")) for name in _TEXTURES)


@lru_cache(maxsize=1)
def load_views() -> tuple[Image.Image, ...]:
    """Load photographs in color.

    Raises:
        ModuleNotFoundError: A package that brings them is not installed.
    """
    folder = _find_folder("skimage", "scikit-image") / "data"
    learn = _find_folder("sklearn", "scikit-learn") / "datasets" / "images"
    paths = [folder / name for name in _VIEWS] + [learn / name for name in _LEARN_VIEWS]
    return tuple(Image.open(path).convert("RGB") for path in paths)


def _find_folder(module: str, package: str) -> Path:
    """The folder of an installed package, which need not be imported (that takes a second)."""
    spec = find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            f"the varied world's backdrops need the photographs of {package}: "
            "pip install 'trireid[photos]', or leave background out of what varies"
        )
    return Path(spec.submodule_search_locations[0])


def _flatten(texture: Image.Image) -> Image.Image:
    pixels = np.asarray(texture, np.float32)
    return Image.fromarray((pixels * (128 / pixels.mean())).clip(0, 255).astype(np.uint8))
