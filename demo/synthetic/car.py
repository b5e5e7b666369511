"""The car: a side profile swept across the car's width, turned, and drawn panel by panel from far
to near.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from itertools import pairwise
from math import cos, pi, sin, sqrt

import numpy as np

from trireid.demo.synthetic.canvas import NEUTRAL, Canvas, Point
from trireid.demo.synthetic.palette import Color, Material
from trireid.demo.synthetic.traits import CarTraits, Cloth

Vector = tuple[float, float, float]  # x ahead, y up, z to the car's right, in car lengths


class Panel(IntEnum):
    """Labels of a car's parts.

    Those up to BUMPER_R from BUMPER_F on are the sweep's strips, front to rear.
    """

    BUMPER_F = 1
    NOSE = 2
    HOOD = 3
    WINDSCREEN = 4
    ROOF = 5
    BACKLIGHT = 6
    TRUNK = 7
    TAIL = 8
    BUMPER_R = 9
    FRONT_WING = 10
    FRONT_DOOR = 11
    REAR_DOOR = 12
    REAR_WING = 13
    SILL = 14
    PILLAR = 15
    WINDOW = 16
    TYRE = 17
    RIM_F = 18
    RIM_R = 19
    HUB = 20
    ARCH = 21
    HEADLAMP = 22
    TAILLAMP = 23
    GRILLE = 24
    PLATE = 25
    DECAL = 26
    LOAD = 27
    EXHAUST = 28
    SHADOW = 29
    SEAM = 30


@dataclass(frozen=True)
class Body:
    """A body's side: outline points (x, y) from the front bumper's top to the rear one's, belt
    height, side windows.
    """

    outline: tuple[tuple[float, float], ...]
    windows: tuple[tuple[float, float], ...]
    doors: tuple[float, float, float]
    wheel: float = 0.072


_NOSE = ((0.5, 0.165), (0.47, 0.205))
_BODIES: dict[str, Body] = {
    "sedan": Body(
        (
            *_NOSE,
            (0.21, 0.24),
            (0.05, 0.345),
            (-0.19, 0.345),
            (-0.36, 0.245),
            (-0.485, 0.235),
            (-0.5, 0.16),
        ),
        ((0.19, -0.045), (-0.065, -0.31)),
        (0.2, -0.055, -0.27),
    ),
    "hatch": Body(
        (
            *_NOSE,
            (0.24, 0.25),
            (0.09, 0.37),
            (-0.33, 0.365),
            (-0.46, 0.255),
            (-0.485, 0.24),
            (-0.5, 0.16),
        ),
        ((0.22, 0.0), (-0.02, -0.24), (-0.26, -0.39)),
        (0.22, -0.01, -0.25),
    ),
    "suv": Body(
        (
            (0.5, 0.2),
            (0.475, 0.265),
            (0.22, 0.29),
            (0.08, 0.43),
            (-0.39, 0.425),
            (-0.47, 0.29),
            (-0.49, 0.27),
            (-0.5, 0.19),
        ),
        ((0.2, -0.02), (-0.04, -0.24), (-0.26, -0.43)),
        (0.2, -0.03, -0.25),
        0.084,
    ),
    "van": Body(
        (
            (0.5, 0.18),
            (0.485, 0.25),
            (0.36, 0.285),
            (0.2, 0.48),
            (-0.48, 0.48),
            (-0.495, 0.3),
            (-0.497, 0.28),
            (-0.5, 0.17),
        ),
        ((0.33, 0.1),),
        (0.34, 0.09, -0.2),
    ),
    "pickup": Body(
        (
            (0.5, 0.19),
            (0.475, 0.26),
            (0.25, 0.28),
            (0.13, 0.405),
            (-0.07, 0.405),
            (-0.11, 0.275),
            (-0.49, 0.27),
            (-0.5, 0.18),
        ),
        ((0.23, 0.07), (0.05, -0.1)),
        (0.22, 0.06, -0.1),
        0.082,
    ),
    "coupe": Body(
        (
            (0.5, 0.15),
            (0.48, 0.185),
            (0.18, 0.225),
            (0.03, 0.315),
            (-0.13, 0.315),
            (-0.41, 0.245),
            (-0.49, 0.225),
            (-0.5, 0.15),
        ),
        ((0.17, -0.27),),
        (0.18, -0.16, -0.18),
    ),
    "estate": Body(
        (
            *_NOSE,
            (0.21, 0.24),
            (0.06, 0.345),
            (-0.42, 0.34),
            (-0.485, 0.25),
            (-0.49, 0.235),
            (-0.5, 0.16),
        ),
        ((0.19, -0.03), (-0.05, -0.25), (-0.27, -0.45)),
        (0.2, -0.04, -0.26),
    ),
    "lorry": Body(
        (
            (0.5, 0.17),
            (0.49, 0.25),
            (0.43, 0.29),
            (0.37, 0.43),
            (0.21, 0.43),
            (0.2, 0.2),
            (-0.49, 0.19),
            (-0.5, 0.1),
        ),
        ((0.39, 0.23),),
        (0.4, 0.22, 0.2),
    ),
}
_CLEARANCE = 0.06
_AXLES = (0.31, -0.3)
_PANELS_OF = {
    "front door": Panel.FRONT_DOOR,
    "rear door": Panel.REAR_DOOR,
    "rear wing": Panel.REAR_WING,
}
_HOT_PANELS = _PANELS_OF | {"sill": Panel.SILL, "roof": Panel.ROOF}
_TWO_TONE: dict[str, tuple[Panel, ...]] = {
    "roof": (Panel.ROOF, Panel.PILLAR),
    "bonnet": (Panel.HOOD, Panel.NOSE, Panel.FRONT_WING),
    "lower": (Panel.SILL, Panel.BUMPER_F, Panel.BUMPER_R),
    "rear": (Panel.REAR_WING, Panel.TRUNK, Panel.TAIL),
    "door": (Panel.FRONT_DOOR,),
}


@dataclass(frozen=True)
class CarView:
    """How a car is seen: yaw 0 shows its right side, front to the right of the image.

    Radians and pixels.
    """

    yaw: float
    pitch: float
    scale: float = 1.0
    x: float = 0.0
    y: float = 0.0

    def project(self, points: Sequence[Vector]) -> list[Point]:
        """Points of the image, with a little perspective."""
        across, ahead = cos(self.yaw), sin(self.yaw)
        level, tilt = cos(self.pitch), sin(self.pitch)
        flat = []
        for x, y, z in points:
            near = z * across - x * ahead
            scale = self.scale / (1 - 0.28 * near)
            flat.append(
                (
                    self.x + scale * (x * across + z * ahead),
                    self.y - scale * (y * level - near * tilt),
                )
            )
        return flat


def _shape_body(traits: CarTraits) -> Body:
    """The body with the proportions of this very car."""
    body = _BODIES[traits.body]
    if traits.shape == CarTraits.shape or traits.body in ("lorry", "pickup"):
        return body
    above, below, ahead, wheel = traits.shape
    belt = min(body.outline[2][1], body.outline[5][1])

    def move(x: float) -> float:
        return x + ahead * (1 - 4 * x * x)

    def lift(y: float) -> float:
        return y * below if y < belt else belt * below + (y - belt) * above

    front, middle, rear = body.doors
    return Body(
        tuple((move(x), lift(y)) for x, y in body.outline),
        tuple((move(x1), move(x0)) for x1, x0 in body.windows),
        (move(front), move(middle), move(rear)),
        body.wheel * wheel,
    )


def fit_view(
    rng: np.random.Generator, traits: CarTraits, yaw: float, pitch: float, size: tuple[int, int]
) -> CarView:
    """A view in which the car fills the image about as a detector's crop would."""
    height, width = size
    top = max(y for _, y in _shape_body(traits).outline) + 0.02
    z = traits.width / 2
    corners = [(x, y, side) for x in (-0.5, 0.5) for y in (0.0, top) for side in (-z, z)]
    box = np.array(CarView(yaw, pitch).project(corners))
    low, high = box.min(axis=0), box.max(axis=0)
    fill = float(rng.uniform(0.84, 0.98))
    scale = fill * min(width / (high[0] - low[0]), height / (high[1] - low[1]))
    middle = (low + high) / 2 * scale
    x = width / 2 + float(rng.normal(0, 0.02)) * width - middle[0]
    y = height / 2 + float(rng.normal(0.02, 0.025)) * height - middle[1]
    return CarView(yaw, pitch, float(scale), float(x), float(y))


def make_car_materials(traits: CarTraits) -> dict[int, Material]:
    """Make the material of each `Panel` of this car."""
    panels = range(Panel.BUMPER_F, Panel.PILLAR + 1)
    materials: dict[int, Material] = {panel: _make_paint(traits.paint) for panel in panels}
    if traits.dark_bumpers:
        plastic = Material((0.13, 0.13, 0.14), 0.3, 0.2)
        materials |= dict.fromkeys((Panel.BUMPER_F, Panel.BUMPER_R), plastic)
    materials |= dict.fromkeys(_TWO_TONE.get(traits.two_tone, ()), _make_paint(traits.second))
    materials |= _fittings(traits)
    for panel, warmth in _heat(traits).items():
        materials[panel] = replace(materials[panel], warmth=warmth)
    return materials


def draw_car_view(canvas: Canvas, traits: CarTraits, view: CarView) -> None:
    """Draw the car, its labels from `Panel`."""
    _Car(canvas, traits, view).draw()


def _fittings(traits: CarTraits) -> dict[int, Material]:
    glass = Material(
        (traits.tint, traits.tint * 1.06, traits.tint * 1.12), traits.glass_nir, traits.cabin
    )
    tone = traits.rim_tone
    rim = Material((tone, tone, tone), 0.2 + 0.6 * tone, 0.25)
    return {
        **dict.fromkeys((Panel.WINDSCREEN, Panel.BACKLIGHT, Panel.WINDOW), glass),
        Panel.TYRE: Material((0.05, 0.05, 0.05), 0.1, traits.tyre_warmth),
        Panel.RIM_F: rim,
        Panel.RIM_R: rim,
        Panel.HUB: Material((0.1, 0.1, 0.1), 0.15, 0.3),
        Panel.ARCH: Material((0.03, 0.03, 0.03), 0.04, 0.2),
        Panel.HEADLAMP: Material((0.93, 0.94, 0.92), 0.85, 0.45),
        Panel.TAILLAMP: Material((0.75, 0.05, 0.06), 0.55, 0.4),
        Panel.GRILLE: Material((0.08, 0.08, 0.09), 0.12, 0.5),
        Panel.PLATE: Material(traits.plate, traits.plate_nir, 0.1),
        Panel.DECAL: _make_paint(traits.decal_cloth),
        Panel.LOAD: _make_paint(traits.roof_cloth),
        Panel.EXHAUST: Material((0.2, 0.2, 0.2), 0.2, 1.0),
        Panel.SHADOW: Material((0.06, 0.06, 0.07), 0.06, 0.12),
        Panel.SEAM: Material(
            _darken(traits.paint.color), traits.paint.nir * 0.5, traits.paint.warmth * 0.6
        ),
    }


def _heat(traits: CarTraits) -> dict[Panel, float]:
    heat: dict[Panel, float] = {}
    match traits.engine:
        case "front":
            heat |= {Panel.HOOD: 0.85, Panel.FRONT_WING: 0.7, Panel.GRILLE: 0.95}
        case "nose":
            heat |= {Panel.NOSE: 0.95, Panel.BUMPER_F: 0.9, Panel.GRILLE: 1.0}
        case "rear":
            heat |= {Panel.TRUNK: 0.85, Panel.TAIL: 0.8, Panel.REAR_WING: 0.7}
    if traits.brakes in ("front", "both"):
        heat[Panel.RIM_F] = 0.95
    if traits.brakes in ("rear", "both"):
        heat[Panel.RIM_R] = 0.95
    if traits.hot_panel in _HOT_PANELS:
        heat[_HOT_PANELS[traits.hot_panel]] = 0.8
    return heat


class _Car:
    def __init__(self, canvas: Canvas, traits: CarTraits, view: CarView) -> None:
        self.canvas, self.traits, self.view = canvas, traits, view
        self.body = _shape_body(traits)
        front, rear = (0.49, _CLEARANCE), (-0.49, _CLEARANCE)
        self.profile = (front, *self.body.outline, rear)
        self.belt = (
            min(self.body.outline[2][1], self.body.outline[5][1])
            if traits.body != "lorry"
            else 0.28
        )
        self.roof = max(y for _, y in self.body.outline)
        self.side = 1.0 if cos(view.yaw) >= 0 else -1.0  # which flank is seen

    def draw(self) -> None:
        self._shadow()
        self._wheels(-self.side)
        parts = [
            (self._nearness(index), self._strip(index)) for index in range(len(self.profile) - 1)
        ]
        lorry, from_ahead = self.traits.body == "lorry", sin(self.view.yaw) < 0
        if lorry and from_ahead:  # the cab hides part of the box
            self._box()
        for _, paint in sorted(parts, key=lambda part: part[0]):
            paint()
        if self.traits.body == "pickup":
            self._bed()
        self._load()
        self._flank()
        if lorry and not from_ahead:
            self._box()
        self._wheels(self.side)

    # -- geometry

    def half(self, x: float, y: float) -> float:
        """Half of the car's width at a place of its profile."""
        lean = 0.17 * min(max((y - self.belt) / (self.roof - self.belt), 0.0), 1.0)
        nose = max(abs(x) - 0.38, 0.0) * 0.75
        return self.traits.width / 2 * (1 - lean) * (1 - nose)

    def _near(self, x: float, z: float) -> float:
        return z * cos(self.view.yaw) - x * sin(self.view.yaw)

    def _nearness(self, strip: int) -> float:
        (xa, _), (xb, _) = self.profile[strip : strip + 2]
        return self._near((xa + xb) / 2, 0.0)

    def _face(self, corners: Sequence[Vector], label: int, lift: float = 0.0) -> None:
        """Draw a flat panel, corners clockwise as seen from outside, unless it faces away."""
        flat = self.view.project(corners)
        if _area(flat) > 0:
            self.canvas.polygon(flat, label, self._shade(_normal(*corners[:3])) + lift)

    def _shade(self, normal: Vector) -> float:
        """Light from above, from behind the camera, and a little from the left."""
        x, y, z = normal
        across = x * cos(self.view.yaw) + z * sin(self.view.yaw)
        facing = self._near(x, z)
        return NEUTRAL * (0.66 + 0.42 * max(y, 0.0) + 0.26 * max(facing, 0.0) - 0.14 * across)

    def _cuboid(self, low: Vector, high: Vector, label: int) -> None:
        (x0, y0, z0), (x1, y1, z1) = low, high
        self._face([(x1, y0, z1), (x1, y1, z1), (x1, y1, z0), (x1, y0, z0)], label)
        self._face([(x0, y0, z0), (x0, y1, z0), (x0, y1, z1), (x0, y0, z1)], label)
        self._face([(x0, y1, z0), (x1, y1, z0), (x1, y1, z1), (x0, y1, z1)], label)
        self._face([(x0, y0, z1), (x0, y1, z1), (x1, y1, z1), (x1, y0, z1)], label)
        self._face([(x1, y0, z0), (x1, y1, z0), (x0, y1, z0), (x0, y0, z0)], label)

    # -- the sweep: bumpers, bonnet, glass, roof, tail

    def _strip(self, index: int) -> Callable[[], None]:
        def paint() -> None:
            panel = Panel(Panel.BUMPER_F + index)
            self._patch(index, -1, 1, 0, 1, panel)
            self._details(index, panel)

        return paint

    def _on_strip(self, index: int, s: float, t: float) -> Vector:
        """`s`: -1 on the car's left to 1 on its right; `t`: 0 at the strip's front end to 1."""
        (xa, ya), (xb, yb) = self.profile[index : index + 2]
        x, y = xa + (xb - xa) * t, ya + (yb - ya) * t
        half = self.half(xa, ya) + (self.half(xb, yb) - self.half(xa, ya)) * t
        return x, y, s * half

    def _patch(
        self, index: int, s0: float, s1: float, t0: float, t1: float, label: int, lift: float = 0.0
    ) -> None:
        corners = [self._on_strip(index, s, t) for s, t in ((s1, t0), (s1, t1), (s0, t1), (s0, t0))]
        self._face(corners, label, lift)

    def _details(self, index: int, panel: Panel) -> None:
        match panel:
            case Panel.WINDSCREEN | Panel.BACKLIGHT:
                self._glass(index, panel)
            case Panel.HOOD | Panel.ROOF | Panel.TRUNK if self.traits.decal == "racing":
                self._patch(index, -0.4, -0.12, 0, 1, Panel.DECAL)
                self._patch(index, 0.12, 0.4, 0, 1, Panel.DECAL)
            case Panel.NOSE:
                self._front(index)
            case Panel.TAIL:
                self._rear(index)
            case Panel.BUMPER_F:
                self._patch(index, -0.28, 0.28, 0.55, 0.9, Panel.PLATE)
                self._patch(index, -0.6, 0.6, 0.15, 0.4, Panel.GRILLE)
            case Panel.BUMPER_R:
                self._exhausts(index)

    def _glass(self, index: int, panel: Panel) -> None:
        if panel == Panel.BACKLIGHT and self.traits.body in ("van", "lorry"):
            self._patch(index, -1, 1, 0, 1, Panel.TRUNK)
            return
        for s0, s1 in ((-1.0, -0.9), (0.9, 1.0)):
            self._patch(index, s0, s1, 0, 1, Panel.PILLAR)
        if panel == Panel.WINDSCREEN:  # a gleam
            self._patch(index, 0.15, 0.55, 0.05, 0.95, Panel.WINDSCREEN, 26)

    def _exhausts(self, index: int) -> None:
        for s, name in ((-0.62, "left"), (0.62, "right")):
            if self.traits.exhaust in (name, "both"):
                self._patch(index, s - 0.13, s + 0.13, 0.62, 1.0, Panel.EXHAUST)

    def _front(self, index: int) -> None:
        match self.traits.grille:
            case "wide":
                self._patch(index, -0.55, 0.55, 0.2, 0.7, Panel.GRILLE)
            case "tall":
                self._patch(index, -0.3, 0.3, 0.0, 0.95, Panel.GRILLE)
            case "split":
                self._patch(index, -0.45, -0.08, 0.15, 0.85, Panel.GRILLE)
                self._patch(index, 0.08, 0.45, 0.15, 0.85, Panel.GRILLE)
            case "closed":
                self._patch(index, -0.5, 0.5, 0.42, 0.55, Panel.GRILLE)
        for side in (-1, 1):
            self._lamp(index, side, Panel.HEADLAMP)

    def _rear(self, index: int) -> None:
        self._patch(index, -0.28, 0.28, 0.3, 0.75, Panel.PLATE)
        for side in (-1, 1):
            self._lamp(index, side, Panel.TAILLAMP)

    def _lamp(self, index: int, side: int, label: int) -> None:
        s0, s1, t0, t1 = {"round": (0.62, 0.92, 0.1, 0.95), "slim": (0.5, 0.98, 0.55, 0.9)}.get(
            self.traits.lamp, (0.66, 0.98, 0.05, 0.95)
        )
        low, high = min(side * s0, side * s1), max(side * s0, side * s1)
        if self.traits.lamp != "round":
            self._patch(index, low, high, t0, t1, label)
            return
        middle, s_half, t_half = (low + high) / 2, (high - low) / 2, (t1 - t0) / 2
        ring = [
            self._on_strip(index, middle - s_half * cos(turn), (t0 + t1) / 2 + t_half * sin(turn))
            for turn in reversed(_turns(12))
        ]
        self._face(ring, label)

    # -- the flank

    def _flank(self) -> None:
        front, middle, rear = self.body.doors
        panels = (
            (0.5, front, Panel.FRONT_WING),
            (front, middle, Panel.FRONT_DOOR),
            (middle, rear, Panel.REAR_DOOR),
            (rear, -0.5, Panel.REAR_WING),
        )
        sill = _CLEARANCE + 0.3 * (self.belt - _CLEARANCE)
        shoulder = self.belt - 0.16 * (self.belt - _CLEARANCE)
        waist = _CLEARANCE + 0.62 * (self.belt - _CLEARANCE)
        for x1, x0, panel in panels:
            self._slice(x0, x1, sill, waist, panel, -8)
            self._slice(x0, x1, waist, shoulder, panel, 6)
            self._slice(x0, x1, shoulder, self.belt, panel, 22)
        self._slice(-0.5, 0.5, _CLEARANCE, sill, Panel.SILL, -24)
        if self.traits.dark_bumpers:
            self._slice(0.44, 0.5, _CLEARANCE, 0.16, Panel.BUMPER_F)
            self._slice(-0.5, -0.44, _CLEARANCE, 0.16, Panel.BUMPER_R)
        self._greenhouse()
        for x in (front, middle, rear):
            self._slice(x - 0.003, x + 0.003, sill, self.belt, Panel.SEAM)
        for x in (middle + 0.03, rear + 0.03):
            if x - 0.03 < front:
                self._slice(x, x + 0.04, shoulder - 0.018, shoulder - 0.008, Panel.SEAM)
        self._decal(sill, shoulder)
        self._slice(0.43, 0.485, waist, shoulder, Panel.HEADLAMP)
        self._slice(-0.495, -0.455, waist, shoulder, Panel.TAILLAMP)

    def _slice(
        self, x0: float, x1: float, low: float, high: float, label: int, lift: float = 0.0
    ) -> None:
        """The part of the flank between two places along the car and two heights, cut off at the
        outline.
        """
        places = self._cuts(x0, x1)
        tops = [min(high, self._outline(x)) for x in places]
        if max(tops) <= low:
            return
        rim = [(x, max(top, low)) for x, top in zip(places, tops, strict=True)]
        self._side_polygon([(x0, low), *rim, (x1, low)], label, lift)

    def _cuts(self, x0: float, x1: float) -> list[float]:
        inner = sorted(x for x, _ in self.body.outline if x0 < x < x1)
        return [x0, *inner, x1]

    def _outline(self, x: float) -> float:
        for (xa, ya), (xb, yb) in pairwise(self.body.outline):
            if xb <= x <= xa:
                return ya + (yb - ya) * (xa - x) / (xa - xb)
        return self.body.outline[0 if x > 0 else -1][1]

    def _side_polygon(
        self, outline: Sequence[tuple[float, float]], label: int, lift: float = 0.0
    ) -> None:
        corners = [(x, y, self.side * self.half(x, y)) for x, y in outline]
        facing = abs(cos(self.view.yaw))
        shade = NEUTRAL * (0.68 + 0.26 * facing - 0.14 * self.side * sin(self.view.yaw))
        self.canvas.polygon(self.view.project(corners), label, shade + lift)

    def _greenhouse(self) -> None:
        outline = self.body.outline
        if self.traits.body == "lorry":
            self._slice(0.205, 0.5, self.belt, self.roof, Panel.PILLAR)
        else:
            self._slice(outline[5][0], outline[2][0], self.belt, self.roof, Panel.PILLAR, 4)
        for x1, x0 in self.body.windows:
            places = [x0 + (x1 - x0) * step / 6 for step in range(7)]
            rim = [(x, max(self._outline(x) - 0.022, self.belt + 0.01)) for x in places]
            self._side_polygon(
                [(x0, self.belt + 0.008), *rim, (x1, self.belt + 0.008)], Panel.WINDOW
            )
            glint = [
                (x0 + share * (x1 - x0), y)
                for share, y in ((0.2, self.belt + 0.01), (0.45, self.belt + 0.01))
            ]
            tops = [(x + 0.05, self._outline(x + 0.05) - 0.03) for x, _ in glint]
            if x1 - x0 > 0.15:
                self._side_polygon([glint[0], tops[0], tops[1], glint[1]], Panel.WINDOW, 30)
        if self.traits.body in ("van", "lorry"):
            return
        self._slice(0.14, 0.18, self.belt, self.belt + 0.03, Panel.SEAM)

    def _decal(self, sill: float, shoulder: float) -> None:
        high = shoulder - sill
        match self.traits.decal:
            case "stripe":
                self._slice(-0.5, 0.5, sill + 0.45 * high, sill + 0.85 * high, Panel.DECAL)
            case "disc":
                middle, r = sill + high * 0.5, 0.075
                self._side_polygon(
                    [(0.06 + r * cos(t), middle + r * sin(t)) for t in _turns(16)], Panel.DECAL
                )
            case "blocks":
                for x in (0.14, 0.02, -0.1, -0.22):
                    self._slice(x - 0.07, x, sill + 0.15 * high, sill + 0.85 * high, Panel.DECAL)
            case "slash":
                for x in (-0.06, -0.17):
                    corners = [
                        (x, sill),
                        (x + 0.12, shoulder),
                        (x + 0.19, shoulder),
                        (x + 0.07, sill),
                    ]
                    self._side_polygon(corners, Panel.DECAL)
            case "checks":
                for step in range(14):
                    low = sill + high * (0.25 + 0.3 * (step % 2))
                    x = -0.42 + step * 0.06
                    self._slice(x, x + 0.06, low, low + 0.3 * high, Panel.DECAL)

    # -- wheels, ground, load

    def _wheels(self, side: float) -> None:
        r = self.body.wheel
        for x, rim in zip(_AXLES, (Panel.RIM_F, Panel.RIM_R), strict=True):
            z = side * (self.half(x, 0.1) - 0.004)
            seen = side == self.side
            if seen:
                self._disc((x, r + 0.006, z), r * 1.2, Panel.ARCH)
                self._disc((x, r, z - side * 0.05), r, Panel.TYRE, -30)
            self._disc((x, r, z), r, Panel.TYRE, 0 if seen else -40)
            if seen:
                self._rim((x, r, z), r * 0.68, rim)

    def _disc(self, center: Vector, radius: float, label: int, lift: float = 0.0) -> None:
        self._plate(_arc(center, radius, _turns(20)), label, lift)

    def _plate(self, corners: Sequence[Vector], label: int, lift: float = 0.0) -> None:
        """A flat piece that is seen from both of its sides."""
        self.canvas.polygon(self.view.project(corners), label, NEUTRAL + lift)

    def _rim(self, center: Vector, radius: float, rim: Panel) -> None:
        kind = self.traits.rim
        if kind in ("disc", "steel"):
            self._disc(center, radius, rim)
            self._disc(center, radius * (0.3 if kind == "disc" else 0.72), Panel.HUB)
            if kind == "steel":
                self._disc(center, radius * 0.45, rim)
            return
        self._disc(center, radius, Panel.HUB)
        count, wide = {"spokes": (5, 0.34), "star": (3, 0.6), "mesh": (9, 0.2)}[kind]
        for turn in _turns(count):
            self._plate([*_arc(center, radius, (turn - wide, turn, turn + wide)), center], rim)

    def _shadow(self) -> None:
        z = self.traits.width / 2 * 1.04
        self._plate([(0.5, 0, z), (0.5, 0, -z), (-0.5, 0, -z), (-0.5, 0, z)], Panel.SHADOW)

    def _bed(self) -> None:
        """The open bed: a dark floor behind the cabin."""
        z = self.traits.width / 2 * 0.86
        self._face(
            [(-0.47, 0.272, -z), (-0.13, 0.272, -z), (-0.13, 0.272, z), (-0.47, 0.272, z)],
            Panel.ARCH,
        )

    def _box(self) -> None:
        z = self.traits.width / 2
        self._cuboid((-0.5, 0.185, -z), (0.18, 0.5, z), Panel.REAR_DOOR)

    def _load(self) -> None:
        outline = self.body.outline
        front, rear, y = outline[3][0] - 0.03, outline[4][0] + 0.03, self.roof
        z = self.half(0.0, self.roof) * 0.9
        match self.traits.roof:
            case "rails":
                for side in (-self.side, self.side):
                    self._cuboid(
                        (rear, y, side * z - 0.008),
                        (front, y + 0.022, side * z + 0.008),
                        Panel.LOAD,
                    )
            case "box":
                self._cuboid(
                    (rear, y + 0.01, -z * 0.7), (front - 0.02, y + 0.065, z * 0.7), Panel.LOAD
                )
            case "sign":
                middle = (front + rear) / 2
                self._cuboid(
                    (middle - 0.045, y, -z * 0.5), (middle + 0.045, y + 0.05, z * 0.5), Panel.LOAD
                )
            case "beacon":
                self._cuboid(
                    (front - 0.07, y, -z * 0.85), (front - 0.01, y + 0.03, z * 0.85), Panel.LOAD
                )
            case "ladder":
                for share in (0.0, 0.3, 0.6, 0.9):
                    x = rear + share * (front - rear)
                    self._cuboid((x, y, -z * 0.8), (x + 0.03, y + 0.03, z * 0.8), Panel.LOAD)


def _area(flat: Sequence[Point]) -> float:
    """Above zero where the corners run clockwise on the image."""
    return sum(
        xa * yb - xb * ya for (xa, ya), (xb, yb) in zip(flat, [*flat[1:], flat[0]], strict=True)
    )


def _normal(a: Vector, b: Vector, c: Vector) -> Vector:
    """The unit vector out of a panel whose corners run clockwise as seen from outside."""
    ux, uy, uz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    vx, vy, vz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
    x, y, z = uz * vy - uy * vz, ux * vz - uz * vx, uy * vx - ux * vy
    length = sqrt(x * x + y * y + z * z) or 1.0
    return x / length, y / length, z / length


def _turns(count: int) -> list[float]:
    return [2 * pi * step / count for step in range(count)]


def _arc(center: Vector, radius: float, turns: Sequence[float]) -> list[Vector]:
    """Points around a center in the plane of the flank."""
    x, y, z = center
    return [(x + radius * cos(turn), y + radius * sin(turn), z) for turn in turns]


def _make_paint(cloth: Cloth) -> Material:
    return Material(cloth.color, cloth.nir, cloth.warmth)


def _darken(color: Color) -> Color:
    return color[0] * 0.5, color[1] * 0.5, color[2] * 0.5
