"""The cameras of the varied world: a viewpoint and a response for each pair of identity and camera,
and crops as a detector leaves them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from trireid.demo.synthetic.camera import Camera, Conditions
from trireid.demo.synthetic.car import CarView
from trireid.demo.synthetic.figure import GESTURES, Place, Pose
from trireid.demo.synthetic.palette import Bytes
from trireid.samples.sample import Kind

_FALSE_COLORS = 0.3  # share of the cameras that write them
# black, purple, red, orange, yellow, white: from cold to hot
_IRON = ((0, 0, 8), (60, 15, 110), (160, 35, 100), (225, 85, 45), (250, 165, 25), (252, 250, 190))


@dataclass(frozen=True)
class Frame:
    """A crop before it is scaled to the image's size: pixels, and the shares of it that the
    subject's height and its shifts take.
    """

    height: int
    width: int
    fill: float
    across: float
    down: float

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width


def vary_viewpoint(rng: np.random.Generator, camera: Camera, kind: Kind) -> Camera:
    """Draw any direction, from eye level to steeply above."""
    high = rng.random() < 0.5
    if kind == "person":
        yaw = float(rng.uniform(0, 2 * np.pi))
        pitch = float(rng.uniform(15, 40) if high else rng.uniform(1, 16))
        return replace(camera, yaw=yaw, yaw_spread=0.6, pitch=float(np.radians(pitch)))
    turn = float(rng.uniform(0, 2 * np.pi)) if rng.random() < 0.3 else float(rng.normal(0, 0.35))
    pitch = float(rng.uniform(8, 24) if high else rng.uniform(1, 8))
    return replace(camera, yaw=camera.yaw + turn, yaw_spread=0.25, pitch=float(np.radians(pitch)))


def vary_response(rng: np.random.Generator, camera: Camera) -> Camera:
    """Draw a response of its own: cameras differ more than the clothes of two people do."""
    cast = rng.normal(1.0, 0.045, 3)
    warm = float(rng.normal(0, 0.08))
    cast = cast / cast.mean() * (1 + warm, 1.0, 1 - warm)
    return replace(
        camera,
        nights=float(rng.choice((0.0, 0.0, 0.0, 0.1, 0.3, 0.7))),
        cast=(float(cast[0]), float(cast[1]), float(cast[2])),
        exposure=float(rng.uniform(0.75, 1.25)),
        gamma=float(np.exp(np.clip(rng.normal(0, 0.2), -0.4, 0.4))),
        saturation=float(rng.uniform(0.35, 1.1)),
        noise=float(rng.uniform(0.003, 0.035)),
        blur=float(rng.uniform(0.1, 0.7)),
        nir_gain=float(rng.uniform(0.7, 1.35)),
        nir_gamma=float(rng.uniform(0.7, 1.4)),
        tir_gain=float(rng.uniform(0.75, 1.1)),
        tir_offset=float(rng.uniform(-0.06, 0.12)),
        tir_blur=float(rng.uniform(0.4, 1.8)),
        black=float(rng.uniform(-0.03, 0.12)),
        contrast=float(rng.uniform(0.9, 1.6)),
    )


def vary_conditions(rng: np.random.Generator, conditions: Conditions, kind: Kind) -> Conditions:
    """Let the ground be as warm as it is on a summer's day; rarely as much so around a person."""
    most = 0.35 if kind == "person" else 0.8
    return replace(
        conditions,
        sun=0.0 if conditions.night else float(rng.uniform(0, most)),
        glare=conditions.glare if rng.random() < 0.4 else 0.0,
        exposure=max(conditions.exposure * float(rng.uniform(0.95, 1.2)), 0.35),
        blur=conditions.blur * float(rng.uniform(0.1, 0.8)),
        smear=conditions.smear if rng.random() < 0.4 else 0.0,
    )


def vary_pose(rng: np.random.Generator, pose: Pose) -> Pose:
    """Draw a gait of its own, and the foreshortening of a near camera."""
    standing = rng.random() < 0.2
    return replace(
        pose,
        stride=float(rng.uniform(0.02, 0.12) if standing else rng.uniform(0.2, 0.58)),
        gesture=GESTURES[0] if rng.random() < 0.6 else pose.gesture,
        lean=float(rng.normal(0, 0.03)),
        perspective=float(rng.uniform(0.0, 0.9)) * float(np.sin(pose.pitch)),
    )


def draw_frame(rng: np.random.Generator, kind: Kind, size: tuple[int, int]) -> Frame:
    """Draw the crop: any aspect, half of them small, a fifth badly placed."""
    height, width = size
    scale = float(rng.uniform(0.45, 1.0)) if rng.random() < 0.5 else 1.0
    stretch = float(rng.uniform(0.85, 1.25) if kind == "person" else rng.uniform(0.78, 1.2))
    if rng.random() < 0.2:
        fill, spread = float(rng.uniform(0.62, 1.22)), 0.12
    else:
        fill, spread = float(rng.uniform(0.84, 1.02)), 0.04
    tall, wide = (1.0, stretch) if kind == "person" else (stretch, 1.0)
    return Frame(
        height=round(height * scale * tall),
        width=round(width * scale * wide),
        fill=fill,
        across=float(rng.normal(0, spread)),
        down=float(rng.normal(0, spread / 2)),
    )


def place_figure(frame: Frame, pitch: float) -> Place:
    """Stand a figure into the crop: seen from above, it takes less height than it has."""
    tall = frame.height * frame.fill
    return Place(
        x=frame.width * (0.5 + frame.across),
        y=frame.height * (0.5 + 0.485 * frame.fill + frame.down),
        height=tall / (float(np.cos(pitch)) + 0.12 * float(np.sin(pitch))),
    )


def place_car(frame: Frame, view: CarView) -> CarView:
    """Scale and shift a car that fills the crop."""
    zoom, x, y = frame.fill / 0.93, frame.width / 2, frame.height / 2
    return replace(
        view,
        scale=view.scale * zoom,
        x=x + (view.x - x) * zoom + frame.across * frame.width,
        y=y + (view.y - y) * zoom + frame.down * frame.height,
    )


def paint_heat(images: Bytes, rng: np.random.Generator) -> None:
    """Write, in place, the heat of a triplet in the false colors of a camera that has some."""
    if rng.random() >= _FALSE_COLORS:
        return
    steps = np.array(_IRON, np.float64) + rng.normal(0, 12, (len(_IRON), 3))
    at = np.linspace(0, 255, len(_IRON))
    bands = [np.interp(np.arange(256), at, steps[:, band]) for band in range(3)]
    images[2] = np.stack(bands, axis=1).clip(0, 255).astype(np.uint8)[images[2, ..., 0]]


def resize_triplet(images: Bytes, size: tuple[int, int]) -> Bytes:
    """A triplet [3, H, W, 3] at another height and width."""
    if images.shape[1:3] == size:
        return images
    height, width = size
    resized = np.empty((3, height, width, 3), np.uint8)
    for at, image in enumerate(images):
        gray = at > 0
        source = Image.fromarray(image[..., 0] if gray else image)
        scaled = np.asarray(source.resize((width, height), Image.Resampling.BICUBIC))
        resized[at] = scaled[..., None] if gray else scaled
    return resized
