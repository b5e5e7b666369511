"""The stage: the subject of a shot in its pose, perhaps a passer-by, perhaps an occluder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from trireid.demo.synthetic.camera import Camera
from trireid.demo.synthetic.canvas import Canvas, Planes
from trireid.demo.synthetic.car import draw_car_view, fit_view, make_car_materials
from trireid.demo.synthetic.figure import (
    PARTS,
    Place,
    Pose,
    draw_figure,
    draw_pose,
    make_person_materials,
)
from trireid.demo.synthetic.garment import Torso, paint_garment
from trireid.demo.synthetic.occlusion import draw_occluder_materials, occlude
from trireid.demo.synthetic.palette import Bytes, Material, make_table
from trireid.demo.synthetic.traits import CarTraits, PersonTraits, draw_person
from trireid.demo.synthetic.viewpoint import Frame, place_car, place_figure, vary_pose


@dataclass(frozen=True)
class Changes:
    """Changes that the varied world makes to a stage: the crop, the generator of gaits, and how a
    passer-by is drawn.
    """

    frame: Frame | None = None
    pose: np.random.Generator | None = None
    passer_by: Callable[[np.random.Generator], PersonTraits] = draw_person


@dataclass(frozen=True)
class Stage:
    """A drawn canvas, its labels [2H, 2W], their materials, and the torsos of its figures."""

    canvas: Canvas
    labels: Bytes
    materials: dict[int, Material]
    torsos: tuple[Torso, ...] = ()

    def planes(self) -> Planes:
        """The surfaces before light."""
        return self.canvas.planes(self.labels, make_table(self.materials))


def set_stage(
    rng: np.random.Generator,
    traits: PersonTraits | CarTraits,
    camera: Camera,
    size: tuple[int, int],
    changes: Changes = Changes(),
) -> Stage:
    """Draw the subject as that camera sees it on a canvas of that height and width."""
    if isinstance(traits, PersonTraits):
        return _stage_person(rng, traits, camera, size, changes)
    return _stage_car(rng, traits, camera, size, changes)


def _stage_person(
    rng: np.random.Generator,
    traits: PersonTraits,
    camera: Camera,
    size: tuple[int, int],
    changes: Changes,
) -> Stage:
    """Draw the person, perhaps a passer-by behind or before, perhaps an occluder."""
    height, width = size
    canvas = Canvas(*size)
    materials = make_person_materials(traits) | draw_occluder_materials(rng)
    tall = float(rng.uniform(0.82, 0.97)) * height
    place = Place(
        x=width / 2 + float(rng.normal(0, 0.06)) * width,
        y=height * 0.975 + float(rng.normal(0, 0.014)) * height,
        height=tall,
    )
    if changes.frame is not None:
        place = place_figure(changes.frame, camera.pitch)
    pose = _draw_person_pose(rng, camera, changes)
    drawn = [(traits, pose, place, 0)]
    crowd = float(rng.random())
    if crowd < 0.25:
        other = changes.passer_by(rng)
        side = float(rng.choice((-1.0, 1.0)))
        aside = Place(
            place.x + side * float(rng.uniform(0.42, 0.6)) * width,
            place.y + float(rng.normal(0, 6)),
            place.height,
        )
        drawn.insert(
            int(crowd < 0.08), (other, _draw_person_pose(rng, camera, changes), aside, PARTS)
        )
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
    return Stage(canvas, labels, materials, tuple(torso for torso, _ in torsos))


def _draw_person_pose(rng: np.random.Generator, camera: Camera, changes: Changes) -> Pose:
    yaw = camera.yaw + float(rng.normal(0, camera.yaw_spread))
    pose = draw_pose(rng, yaw, camera.pitch)
    return pose if changes.pose is None else vary_pose(changes.pose, pose)


def _stage_car(
    rng: np.random.Generator,
    traits: CarTraits,
    camera: Camera,
    size: tuple[int, int],
    changes: Changes,
) -> Stage:
    height, width = size
    canvas = Canvas(*size)
    materials = make_car_materials(traits) | draw_occluder_materials(rng)
    yaw = camera.yaw + float(rng.normal(0, camera.yaw_spread))
    view = fit_view(rng, traits, yaw, camera.pitch, size)
    if changes.frame is not None:
        view = place_car(changes.frame, view)
    draw_car_view(canvas, traits, view)
    if rng.random() < camera.occlusion:
        occlude(canvas, rng, height, width)
    return Stage(canvas, canvas.labels(), materials)
