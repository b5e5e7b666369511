"""The world: identities, the cameras that see them, and any of their shots, drawn on demand."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from trireid.demo.synthetic.camera import CAMERAS, Camera, draw_conditions, place_camera
from trireid.demo.synthetic.canvas import Canvas
from trireid.demo.synthetic.car import draw_car_view, fit_view, make_car_materials
from trireid.demo.synthetic.figure import (
    PARTS,
    Place,
    Pose,
    draw_figure,
    draw_pose,
    make_person_materials,
)
from trireid.demo.synthetic.garment import paint_garment
from trireid.demo.synthetic.light import expose
from trireid.demo.synthetic.occlusion import draw_occluder_materials, occlude
from trireid.demo.synthetic.palette import Bytes, Material, make_table
from trireid.demo.synthetic.scene import SIZES, frame_backdrop, paint_scene
from trireid.demo.synthetic.seeds import SPLITS, Split, make_generator
from trireid.demo.synthetic.traits import CarTraits, PersonTraits, draw_car, draw_person
from trireid.samples.sample import KINDS, Kind

SEEN_BY = 4  # cameras per identity


@dataclass(frozen=True)
class World:
    """A synthetic world of persons (256 x 128) or vehicles (128 x 256), whole in its `seed`.

    The two splits share their cameras and nothing else: no identity of one is drawn from the same
    numbers as one of the other. Raises ValueError for an unknown kind or split and for a negative
    seed.
    """

    kind: Kind = "person"
    split: Split = "test"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {self.kind!r}")
        if self.split not in SPLITS:
            raise ValueError(f"split must be one of {', '.join(SPLITS)}, not {self.split!r}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, not {self.seed}")

    @property
    def cameras(self) -> int:
        """How many cameras there are; they are counted from 0."""
        return CAMERAS

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a image."""
        return SIZES[self.kind]

    def assign_cameras(self, identity: int) -> list[int]:
        """Assign this identity its four cameras, ascending."""
        rng = self._make_generator("itinerary", _check_index("identity", identity))
        return sorted(int(camera) for camera in rng.permutation(CAMERAS)[:SEEN_BY])

    def traits(self, identity: int) -> PersonTraits | CarTraits:
        """Draw the traits of this identity, which are the same in every shot."""
        rng = self._make_generator("traits", _check_index("identity", identity))
        return draw_person(rng) if self.kind == "person" else draw_car(rng)

    def render(self, identity: int, camera: int, shot: int) -> Bytes:
        """One shot: uint8 [3, H, W, 3] (modality rgb, nir, tir; height, width, channel),
        pixel-aligned.

        Equal arguments give equal pixels, in any order and process; `identity` and `shot` have no
        upper end. Any of the cameras can be asked for, also one that is not among
        `assign_cameras(identity)`. Raises ValueError for a negative number and for a camera that
        does not exist.
        """
        _check_index("identity", identity), _check_index("shot", shot)
        if not 0 <= camera < CAMERAS:
            raise ValueError(f"camera must lie in 0..{CAMERAS - 1}, not {camera}")
        rng = self._make_generator("shot", identity, camera, shot)
        setup = _get_camera(self.seed, self.kind, camera)
        conditions = draw_conditions(rng, setup)
        canvas = Canvas(*self.size)
        labels, materials = self._stage(canvas, rng, identity, setup)
        planes = canvas.planes(labels, make_table(materials))
        backdrop = frame_backdrop(rng, paint_scene(self.seed, self.kind, camera), *self.size)
        return expose(planes, backdrop, setup, conditions, rng)

    def _make_generator(self, stream: str, *name: int) -> np.random.Generator:
        return make_generator(self.seed, stream, self.kind, SPLITS.index(self.split), *name)

    def _stage(
        self, canvas: Canvas, rng: np.random.Generator, identity: int, camera: Camera
    ) -> tuple[Bytes, dict[int, Material]]:
        traits = self.traits(identity)
        if isinstance(traits, PersonTraits):
            return _stage_person(canvas, rng, traits, camera, self.size)
        return _stage_car(canvas, rng, traits, camera, self.size)


@lru_cache(maxsize=64)
def _get_camera(seed: int, kind: Kind, index: int) -> Camera:
    return place_camera(seed, kind, index)


def _check_index(name: str, value: int) -> int:
    if value < 0:
        raise ValueError(f"{name} must not be negative, not {value}")
    return value


def _stage_person(
    canvas: Canvas,
    rng: np.random.Generator,
    traits: PersonTraits,
    camera: Camera,
    size: tuple[int, int],
) -> tuple[Bytes, dict[int, Material]]:
    """Draw the person, perhaps a passer-by behind or before, perhaps an occluder."""
    height, width = size
    materials = make_person_materials(traits) | draw_occluder_materials(rng)
    tall = float(rng.uniform(0.82, 0.97)) * height
    place = Place(
        x=width / 2 + float(rng.normal(0, 0.06)) * width,
        y=height * 0.975 + float(rng.normal(0, 0.014)) * height,
        height=tall,
    )
    pose = _draw_person_pose(rng, camera)
    drawn = [(traits, pose, place, 0)]
    crowd = float(rng.random())
    if crowd < 0.25:
        other = draw_person(rng)
        side = float(rng.choice((-1.0, 1.0)))
        aside = Place(
            place.x + side * float(rng.uniform(0.42, 0.6)) * width,
            place.y + float(rng.normal(0, 6)),
            tall,
        )
        drawn.insert(int(crowd < 0.08), (other, _draw_person_pose(rng, camera), aside, PARTS))
        materials |= {
            label + PARTS: material for label, material in make_person_materials(other).items()
        }
    torsos = [
        (draw_figure(canvas, who, how, where, first), who) for who, how, where, first in drawn
    ]
    if rng.random() < camera.occlusion:
        occlude(canvas, rng, height, width)
    labels = canvas.labels()
    for torso, who in torsos:
        paint_garment(labels, torso, who)
    return labels, materials


def _draw_person_pose(rng: np.random.Generator, camera: Camera) -> Pose:
    return draw_pose(rng, camera.yaw + float(rng.normal(0, camera.yaw_spread)), camera.pitch)


def _stage_car(
    canvas: Canvas,
    rng: np.random.Generator,
    traits: CarTraits,
    camera: Camera,
    size: tuple[int, int],
) -> tuple[Bytes, dict[int, Material]]:
    height, width = size
    materials = make_car_materials(traits) | draw_occluder_materials(rng)
    yaw = camera.yaw + float(rng.normal(0, camera.yaw_spread))
    draw_car_view(canvas, traits, fit_view(rng, traits, yaw, camera.pitch, size))
    if rng.random() < camera.occlusion:
        occlude(canvas, rng, height, width)
    return canvas.labels(), materials
