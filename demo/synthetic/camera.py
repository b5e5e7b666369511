"""The cameras: the viewpoint of each, its effect on colors and heat, and the light of a shot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trireid.demo.synthetic.seeds import make_generator
from trireid.samples.sample import Kind

CAMERAS = 6
_YAWS = {  # degrees; person: 0 faces the camera, vehicle: 0 shows its left side
    "person": (0.0, 55.0, 115.0, 180.0, 235.0, 300.0),
    "vehicle": (-28.0, 24.0, 204.0, 152.0, -52.0, 228.0),
}
_YAW_SPREAD = {"person": 32.0, "vehicle": 11.0}
_NIGHTS = (0.05, 0.2, 0.35, 0.1, 0.5, 0.25)  # share of a camera's shots taken by night


@dataclass(frozen=True)
class Camera:
    """One place.

    Angles in radians; gains and casts are factors, the rest lies in 0..1 or is in pixels.
    """

    yaw: float
    yaw_spread: float
    pitch: float
    nights: float
    cast: tuple[float, float, float]
    exposure: float
    gamma: float
    saturation: float
    noise: float
    blur: float
    glare: float
    occlusion: float
    nir_gain: float
    nir_gamma: float
    tir_gain: float
    tir_offset: float
    tir_blur: float
    black: float = 0.0
    contrast: float = 1.0


@dataclass(frozen=True)
class Conditions:
    """The light in one shot; directions are unit steps on the image."""

    night: bool
    exposure: float
    cast: tuple[float, float, float]
    slope: tuple[float, float]
    haze: float
    glare: float
    glare_at: tuple[float, float]
    lamp_at: tuple[float, float]
    ambient: float
    sun: float
    nir_gain: float
    nir_at: tuple[float, float]
    tir_gain: float
    tir_offset: float
    tir_stretch: bool
    blur: float
    smear: float


def place_camera(seed: int, kind: Kind, index: int) -> Camera:
    """The camera of that index; the same for both splits."""
    rng = make_generator(seed, "camera", kind, index)
    cast = rng.normal(1.0, 0.08, 3)
    return Camera(
        yaw=float(np.radians(_YAWS[kind][index])),
        yaw_spread=float(np.radians(_YAW_SPREAD[kind])),
        pitch=float(np.radians(rng.uniform(3, 16))),
        nights=_NIGHTS[(index + seed) % CAMERAS],
        cast=_to_triple(cast / cast.mean()),
        exposure=float(rng.uniform(0.9, 1.1)),
        gamma=float(rng.uniform(0.88, 1.14)),
        saturation=float(rng.uniform(0.8, 1.1)),
        noise=float(rng.uniform(0.008, 0.03)),
        blur=float(rng.uniform(0.2, 1.0)),
        glare=float(rng.choice((0.0, 0.05, 0.15))),
        occlusion=float(rng.uniform(0.1, 0.3)),
        nir_gain=float(rng.uniform(0.9, 1.1)),
        nir_gamma=float(rng.uniform(0.9, 1.12)),
        tir_gain=float(rng.uniform(0.88, 1.05)),
        tir_offset=float(rng.uniform(-0.03, 0.05)),
        tir_blur=float(rng.uniform(0.8, 1.7)),
    )


def draw_conditions(rng: np.random.Generator, camera: Camera) -> Conditions:
    night = bool(rng.random() < camera.nights)
    warm = rng.normal(0, 0.05)
    turn = rng.uniform(0, 2 * np.pi)
    return Conditions(
        night=night,
        exposure=float(rng.uniform(0.2, 0.55) if night else rng.uniform(0.75, 1.2)),
        cast=(1 + warm + 0.25 * night, 1.0, 1 - warm - 0.25 * night),
        slope=(0.12 * float(np.cos(turn)), 0.12 * float(np.sin(turn))),
        haze=float(rng.choice((0.0, 0.0, 0.05, 0.15))),
        glare=float(rng.uniform(0.4, 1.1)) if rng.random() < camera.glare else 0.0,
        glare_at=_draw_point(rng),
        lamp_at=_draw_point(rng),
        ambient=float(rng.uniform(0.05, 0.15) if night else rng.uniform(0.1, 0.35)),
        sun=0.0 if night else float(rng.uniform(0.0, 0.3)),
        nir_gain=float(rng.uniform(0.8, 1.15)),
        nir_at=_draw_point(rng),
        tir_gain=float(rng.uniform(0.88, 1.06)),
        tir_offset=float(rng.uniform(-0.04, 0.05)),
        tir_stretch=bool(rng.random() < 0.5),
        blur=float(rng.gamma(2.0, 0.25)),
        smear=float(rng.choice((0.0, 0.0, 0.0, 2.0))),
    )


def _draw_point(rng: np.random.Generator) -> tuple[float, float]:
    """A point of the image, as shares of its width and height."""
    return float(rng.uniform(0, 1)), float(rng.uniform(0, 1))


def _to_triple(values: np.ndarray) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
