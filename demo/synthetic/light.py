"""From surfaces to pictures: light falls on the planes, and each of the three sensors answers in
its own way.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from PIL import Image, ImageFilter

from trireid.demo.synthetic.camera import Camera, Moment
from trireid.demo.synthetic.canvas import Planes
from trireid.demo.synthetic.palette import Bytes, Floats
from trireid.demo.synthetic.scene import Backdrop

_SHEET, _CURVE = 1024, 2047
_LUMA = np.array([0.30, 0.59, 0.11], np.float32)


def expose(
    planes: Planes, backdrop: Backdrop, camera: Camera, moment: Moment, rng: np.random.Generator
) -> Bytes:
    """The triplet uint8 [3, H, W, 3] (rgb, nir, tir) of these planes before that backdrop."""
    shape = planes.cover.shape
    pictures = np.empty((3, *shape, 3), np.uint8)
    rgb = _rgb(planes, backdrop, camera, moment, _noise(rng, shape, 3))
    nir = _nir(planes, backdrop, camera, moment, _noise(rng, shape, 1)[..., 0])
    tir = _tir(planes, backdrop, camera, moment, _noise(rng, shape, 1)[..., 0])
    pictures[0] = _developed(rgb, camera.blur + moment.blur, moment.smear)
    pictures[1] = _developed(nir, camera.blur + 0.7 * moment.blur, moment.smear)[..., None]
    pictures[2] = _developed(tir, camera.tir_blur + 0.5 * moment.blur, 0.0)[..., None]
    return pictures


def _rgb(
    planes: Planes, backdrop: Backdrop, camera: Camera, moment: Moment, noise: Floats
) -> Floats:
    shape = planes.cover.shape
    behind = (1 - planes.cover)[..., None]
    light = planes.shade * (
        (0.25 + 0.75 * _lamp(shape, moment.lamp_at, 0.6))
        if moment.night
        else _slope(shape, moment.slope)
    )
    picture = planes.visible + behind * backdrop.visible
    picture = picture * light[..., None]
    grey = (picture @ _LUMA)[..., None]
    picture = grey + camera.saturation * (picture - grey)
    balance = np.array(camera.cast, np.float32) * np.array(moment.cast, np.float32)
    picture *= balance * np.float32(camera.exposure * moment.exposure)
    if not moment.night:
        picture += np.float32(moment.haze) * (np.float32(0.75) - picture)
    if moment.glare:
        picture += (np.float32(moment.glare) * _lamp(shape, moment.glare_at, 0.3))[..., None]
    return _bent(picture, camera.gamma) + noise * np.float32(
        camera.noise * (1.6 if moment.night else 1.0)
    )


def _nir(
    planes: Planes, backdrop: Backdrop, camera: Camera, moment: Moment, noise: Floats
) -> Floats:
    shape = planes.cover.shape
    picture = planes.nir + (1 - planes.cover) * backdrop.nir
    light = (
        0.5 + 0.5 * _lamp(shape, moment.nir_at, 0.7)
        if moment.night
        else _slope(shape, moment.slope)
    )
    picture = picture * planes.shade * light * np.float32(camera.nir_gain * moment.nir_gain)
    return _bent(picture, camera.nir_gamma) + noise * np.float32(
        camera.noise * (1.5 if moment.night else 0.8)
    )


def _tir(
    planes: Planes, backdrop: Backdrop, camera: Camera, moment: Moment, noise: Floats
) -> Floats:
    """Heat: warmth reaches from the ambient temperature to the body's; cameras often stretch it to
    the full range.
    """
    warmth = planes.warmth / np.maximum(planes.cover, 0.02)
    heat = moment.ambient + (0.95 - moment.ambient) * warmth + 0.25 * (planes.shade - 1)
    behind = moment.ambient + backdrop.heat * (0.12 + moment.sun)
    heat = heat * planes.cover + behind * (1 - planes.cover)
    if moment.tir_stretch:
        low, high = np.quantile(heat[::4, ::4], (0.02, 0.985))
        heat = (heat - low) / max(high - low, 0.15)
    heat = heat * np.float32(camera.tir_gain * moment.tir_gain) + np.float32(
        camera.tir_offset + moment.tir_offset
    )
    return heat + noise * np.float32(0.035)


def _noise(rng: np.random.Generator, shape: tuple[int, ...], channels: int) -> Floats:
    """Unit noise [*shape, channels]: windows of one fixed sheet, far cheaper than drawing each
    value.
    """
    height, width = shape
    corners = rng.integers(0, (_SHEET - height, _SHEET - width), (channels, 2))
    return np.stack([_noise_sheet()[y : y + height, x : x + width] for y, x in corners], axis=-1)


@lru_cache(maxsize=1)
def _noise_sheet() -> Floats:
    return np.random.default_rng(0).standard_normal((_SHEET, _SHEET), np.float32)


def _bent(picture: Floats, gamma: float) -> Floats:
    """The sensor's curve over 0..1, looked up: a power per pixel would cost more than all the
    drawing.
    """
    curve: Floats = np.linspace(0, 1, _CURVE + 1, dtype=np.float32) ** np.float32(gamma)
    bent: Floats = np.take(curve, (np.clip(picture, 0, 1) * np.float32(_CURVE)).astype(np.int16))
    return bent


def _developed(picture: Floats, blur: float, smear: float) -> Bytes:
    """Blurred and quantised.

    The noise passes the lens as well, which makes it as coarse as real night noise.
    """
    image = Image.fromarray((np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8))
    if smear:
        image = image.filter(ImageFilter.BoxBlur((smear, 0)))
    if blur > 0.15:
        image = image.filter(ImageFilter.GaussianBlur(blur))
    return np.asarray(image)


def _slope(shape: tuple[int, ...], steps: tuple[float, float]) -> Floats:
    across = np.linspace(-steps[0], steps[0], shape[1], dtype=np.float32)
    down = np.linspace(-steps[1], steps[1], shape[0], dtype=np.float32)
    light: Floats = 1 + across[None, :] + down[:, None]
    return light


def _lamp(shape: tuple[int, ...], at: tuple[float, float], spread: float) -> Floats:
    """A round pool of light, 1 at its centre;

    `spread` is its radius as a share of the picture's longer side.
    """
    radius = spread * max(shape)
    across = np.exp(-(((np.arange(shape[1]) - at[0] * shape[1]) / radius) ** 2)).astype(np.float32)
    down = np.exp(-(((np.arange(shape[0]) - at[1] * shape[0]) / radius) ** 2)).astype(np.float32)
    light: Floats = down[:, None] * across[None, :]
    return light
