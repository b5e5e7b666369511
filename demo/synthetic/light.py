"""From surfaces to images: light falls on the planes, and each of the three sensors answers in
its own way.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from PIL import Image, ImageFilter

from trireid.demo.synthetic.camera import Camera, Conditions
from trireid.demo.synthetic.canvas import Planes
from trireid.demo.synthetic.palette import Bytes, Floats
from trireid.demo.synthetic.scene import Backdrop

_SHEET, _CURVE = 1024, 2047
_LUMA = np.array([0.30, 0.59, 0.11], np.float32)


def expose(
    planes: Planes,
    backdrop: Backdrop,
    camera: Camera,
    conditions: Conditions,
    rng: np.random.Generator,
) -> Bytes:
    """The triplet uint8 [3, H, W, 3] (rgb, nir, tir) of these planes before that backdrop."""
    shape = planes.cover.shape
    images = np.empty((3, *shape, 3), np.uint8)
    rgb = _render_rgb(planes, backdrop, camera, conditions, _sample_noise(rng, shape, 3))
    nir = _render_nir(planes, backdrop, camera, conditions, _sample_noise(rng, shape, 1)[..., 0])
    tir = _render_tir(planes, backdrop, camera, conditions, _sample_noise(rng, shape, 1)[..., 0])
    images[0] = _develop(rgb, camera.blur + conditions.blur, conditions.smear)
    images[1] = _develop(nir, camera.blur + 0.7 * conditions.blur, conditions.smear)[..., None]
    images[2] = _develop(tir, camera.tir_blur + 0.5 * conditions.blur, 0.0)[..., None]
    return images


def _render_rgb(
    planes: Planes, backdrop: Backdrop, camera: Camera, conditions: Conditions, noise: Floats
) -> Floats:
    shape = planes.cover.shape
    behind = (1 - planes.cover)[..., None]
    light = planes.shade * (
        (0.25 + 0.75 * _make_lamp(shape, conditions.lamp_at, 0.6))
        if conditions.night
        else _make_slope(shape, conditions.slope)
    )
    pixels = planes.visible + behind * backdrop.visible
    pixels = pixels * light[..., None]
    gray = (pixels @ _LUMA)[..., None]
    pixels = gray + camera.saturation * (pixels - gray)
    balance = np.array(camera.cast, np.float32) * np.array(conditions.cast, np.float32)
    pixels *= balance * np.float32(camera.exposure * conditions.exposure)
    if not conditions.night:
        pixels += np.float32(conditions.haze) * (np.float32(0.75) - pixels)
    if conditions.glare:
        pixels += (np.float32(conditions.glare) * _make_lamp(shape, conditions.glare_at, 0.3))[
            ..., None
        ]
    if (camera.black or camera.contrast != 1) and not conditions.night:
        pixels = (pixels - np.float32(camera.black)) * np.float32(camera.contrast)
    return _apply_gamma(pixels, camera.gamma) + noise * np.float32(
        camera.noise * (1.6 if conditions.night else 1.0)
    )


def _render_nir(
    planes: Planes, backdrop: Backdrop, camera: Camera, conditions: Conditions, noise: Floats
) -> Floats:
    shape = planes.cover.shape
    pixels = planes.nir + (1 - planes.cover) * backdrop.nir
    light = (
        0.5 + 0.5 * _make_lamp(shape, conditions.nir_at, 0.7)
        if conditions.night
        else _make_slope(shape, conditions.slope)
    )
    pixels = pixels * planes.shade * light * np.float32(camera.nir_gain * conditions.nir_gain)
    return _apply_gamma(pixels, camera.nir_gamma) + noise * np.float32(
        camera.noise * (1.5 if conditions.night else 0.8)
    )


def _render_tir(
    planes: Planes, backdrop: Backdrop, camera: Camera, conditions: Conditions, noise: Floats
) -> Floats:
    """Heat: warmth reaches from the ambient temperature to the body's; cameras often stretch it to
    the full range.
    """
    warmth = planes.warmth / np.maximum(planes.cover, 0.02)
    heat = conditions.ambient + (0.95 - conditions.ambient) * warmth + 0.25 * (planes.shade - 1)
    behind = conditions.ambient + backdrop.heat * (0.12 + conditions.sun)
    heat = heat * planes.cover + behind * (1 - planes.cover)
    if conditions.tir_stretch:
        low, high = np.quantile(heat[::4, ::4], (0.02, 0.985))
        heat = (heat - low) / max(high - low, 0.15)
    heat = heat * np.float32(camera.tir_gain * conditions.tir_gain) + np.float32(
        camera.tir_offset + conditions.tir_offset
    )
    return heat + noise * np.float32(0.035)


def _sample_noise(rng: np.random.Generator, shape: tuple[int, ...], channels: int) -> Floats:
    """Unit noise [*shape, channels]: windows of one fixed sheet, far cheaper than drawing each
    value.
    """
    height, width = shape
    corners = rng.integers(0, (_SHEET - height, _SHEET - width), (channels, 2))
    return np.stack(
        [_make_noise_sheet()[y : y + height, x : x + width] for y, x in corners], axis=-1
    )


@lru_cache(maxsize=1)
def _make_noise_sheet() -> Floats:
    return np.random.default_rng(0).standard_normal((_SHEET, _SHEET), np.float32)


def _apply_gamma(pixels: Floats, gamma: float) -> Floats:
    """The sensor's curve over 0..1, looked up: a power per pixel would cost more than all the
    drawing.
    """
    curve: Floats = np.linspace(0, 1, _CURVE + 1, dtype=np.float32) ** np.float32(gamma)
    curved: Floats = np.take(curve, (np.clip(pixels, 0, 1) * np.float32(_CURVE)).astype(np.int16))
    return curved


def _develop(pixels: Floats, blur: float, smear: float) -> Bytes:
    """Blurred and quantized.

    The noise passes the lens as well, which makes it as coarse as real night noise.
    """
    image = Image.fromarray((np.clip(pixels, 0, 1) * 255 + 0.5).astype(np.uint8))
    if smear:
        image = image.filter(ImageFilter.BoxBlur((smear, 0)))
    if blur > 0.15:
        image = image.filter(ImageFilter.GaussianBlur(blur))
    return np.asarray(image)


def _make_slope(shape: tuple[int, ...], steps: tuple[float, float]) -> Floats:
    across = np.linspace(-steps[0], steps[0], shape[1], dtype=np.float32)
    down = np.linspace(-steps[1], steps[1], shape[0], dtype=np.float32)
    light: Floats = 1 + across[None, :] + down[:, None]
    return light


def _make_lamp(shape: tuple[int, ...], at: tuple[float, float], spread: float) -> Floats:
    """A round pool of light, 1 at its center;

    `spread` is its radius as a share of the image's longer side.
    """
    radius = spread * max(shape)
    across = np.exp(-(((np.arange(shape[1]) - at[0] * shape[1]) / radius) ** 2)).astype(np.float32)
    down = np.exp(-(((np.arange(shape[0]) - at[1] * shape[0]) / radius) ** 2)).astype(np.float32)
    light: Floats = down[:, None] * across[None, :]
    return light
