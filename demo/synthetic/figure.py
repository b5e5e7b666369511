"""The human figure: a small walking skeleton, drawn limb by limb from far to near."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from math import cos, hypot, sin

import numpy as np

from trireid.demo.synthetic.canvas import NEUTRAL, Bone, Canvas, Point
from trireid.demo.synthetic.garment import PLAIN_ZONE, PRINT, PRINT_ZONE, REFLECTIVE, Torso
from trireid.demo.synthetic.palette import Color, Material
from trireid.demo.synthetic.traits import Cloth, PersonTraits

Vector = tuple[float, float, float]  # x to the body's left, y up, z ahead, in body heights
GESTURES = ("walk", "walk", "walk", "phone", "pockets", "folded")


class Part(IntEnum):
    """Labels of a figure's parts. The five from TORSO on are the garment's (see garment.py)."""

    TORSO = 1
    SLEEVE = 6
    SKIN = 7
    HAND = 8
    HAIR = 9
    EYE = 10
    HAT = 11
    SCARF = 12
    THIGH = 13
    SHIN = 14
    TRIM = 15
    SHOE = 16
    SOLE = 17
    BAG = 18
    STRAP = 19


_BREADTH = 1.15  # crops are stretched to the images' shape, most of them sideways
PARTS = 20  # a second figure on the same canvas uses labels this much higher


@dataclass(frozen=True)
class Pose:
    """One instant of a walk. Angles in radians; yaw 0 faces the camera.

    `perspective`: how much larger the head is seen than the feet, a share of the size.
    """

    yaw: float
    pitch: float
    phase: float
    stride: float
    gesture: str
    lean: float
    perspective: float = 0.0


@dataclass(frozen=True)
class Place:
    """The position of a figure on the image: its feet and its height, in pixels."""

    x: float
    y: float
    height: float


def draw_pose(rng: np.random.Generator, yaw: float, pitch: float) -> Pose:
    return Pose(
        yaw=yaw,
        pitch=pitch,
        phase=float(rng.uniform(0, 2 * np.pi)),
        stride=float(rng.choice((0.08, 0.3, 0.5))),
        gesture=GESTURES[int(rng.integers(len(GESTURES)))],
        lean=float(rng.normal(0, 0.02)),
    )


def make_person_materials(traits: PersonTraits) -> dict[int, Material]:
    """Make the material of each `Part` of this person."""
    zone = traits.heat_step
    return {
        Part.TORSO: _make_cloth(traits.upper),
        Part.TORSO + PRINT: _make_cloth(traits.print),
        Part.TORSO + PLAIN_ZONE: _make_cloth(traits.upper, zone),
        Part.TORSO + PRINT_ZONE: _make_cloth(traits.print, zone),
        Part.TORSO + REFLECTIVE: Material((0.78, 0.80, 0.70), 1.0, 0.1),
        Part.SLEEVE: _make_cloth(traits.sleeve),
        Part.SKIN: _make_skin(traits.skin, 1.0),
        Part.HAND: _make_skin(traits.skin, 0.8),
        Part.HAIR: Material(traits.hair_color, 0.25 + 0.4 * traits.hair_color[0], 0.55),
        Part.EYE: Material((0.05, 0.05, 0.06), 0.1, 0.25 if traits.glasses else 0.95),
        Part.HAT: _make_cloth(traits.hat, -0.1),
        Part.SCARF: _make_cloth(traits.scarf or traits.upper),
        Part.THIGH: _make_cloth(traits.lower),
        Part.SHIN: Material(traits.lower.color, traits.lower.nir, traits.shin_warmth),
        Part.TRIM: _make_cloth(traits.trim_cloth),
        Part.SHOE: _make_cloth(traits.shoes, -0.15),
        Part.SOLE: Material((0.85, 0.85, 0.83), 0.5, 0.2),
        Part.BAG: _make_cloth(traits.bag),
        Part.STRAP: Material(_darken(traits.bag.color), traits.bag.nir * 0.6, 0.2),
    }


def draw_figure(
    canvas: Canvas, traits: PersonTraits, pose: Pose, place: Place, first: int = 0
) -> Torso:
    """Draw the person and say where the torso is, for `paint_garment`.

    `first` is added to every label.
    """
    figure = _Figure(canvas, traits, pose, place, first)
    for _, draw in sorted(figure.limbs(), key=lambda limb: limb[0]):
        draw()
    return figure.torso()


Limb = tuple[float, Callable[[], None]]  # nearness to the camera, and how to draw it


class _Figure:
    def __init__(
        self, canvas: Canvas, traits: PersonTraits, pose: Pose, place: Place, first: int
    ) -> None:
        self.canvas, self.traits, self.pose, self.place, self.first = (
            canvas,
            traits,
            pose,
            place,
            first,
        )
        self.size = place.height
        self.hip = traits.legs
        self.shoulder = 0.805
        self.half = traits.shoulders
        self.depth = 0.062 * traits.girth * (1 + 0.25 * traits.bulk)
        waist = (0.062 + 0.024 * traits.girth) * (0.72 + 2.5 * traits.shoulders)
        self.waist = waist * (1 + 0.18 * traits.bulk)
        self.cos, self.sin = cos(pose.yaw), sin(pose.yaw)
        self.pitch = (cos(pose.pitch), sin(pose.pitch))
        self.legs = [self._leg(side) for side in (-1, 1)]
        self.sole = min(leg[2][1] for leg in self.legs) - 0.03

    def limbs(self) -> list[Limb]:
        limbs = [self._trunk(), *self._head()]
        for side, leg in zip((-1, 1), self.legs, strict=True):
            limbs += self._draw_leg(leg, side)
            limbs += self._draw_arm(side)
        if self.traits.cut in ("skirt", "gown"):
            limbs.append(self._skirt())
        return limbs + self._draw_carried()

    def torso(self) -> Torso:
        return Torso(tuple(self._trunk_rows()), self.pose.yaw, self.first + Part.TORSO)

    # -- geometry

    def near(self, point: Vector) -> float:
        return point[2] * self.cos - point[0] * self.sin

    def at(self, point: Vector) -> Point:
        x, y, z = point
        across = (x * self.cos + z * self.sin) * _BREADTH + self.pose.lean * y
        up = (y - self.sole) * self.pitch[0] - self.near(point) * self.pitch[1]
        return self.place.x + across * self.scale(y), self.place.y - up * self.size

    def scale(self, y: float) -> float:
        """Pixels that one body height takes across, at a height of the body."""
        return self.size * (1 + self.pose.perspective * (y - 0.5))

    def girth(self, half: float, depth: float, y: float = 0.5) -> float:
        """The half width in pixels of an ellipse with these half axes, as seen under the yaw."""
        return hypot(half * self.cos, depth * self.sin) * self.scale(y) * _BREADTH

    def _swing(self, side: int) -> float:
        return side * self.pose.stride * sin(self.pose.phase)

    def _leg(self, side: int) -> tuple[Vector, Vector, Vector]:
        """Hip, knee, ankle."""
        swing = self._swing(side)
        bend = max(0.0, side * cos(self.pose.phase)) * self.pose.stride * 1.4 + 0.05
        x = side * self.waist * 0.52
        thigh, shin = self.hip * 0.47, self.hip * 0.45
        knee = (x, self.hip - thigh * cos(swing), thigh * sin(swing))
        ankle = (x, knee[1] - shin * cos(swing - bend), knee[2] + shin * sin(swing - bend))
        return (x, self.hip, 0.0), knee, ankle

    def _arm(self, side: int) -> tuple[Vector, Vector, Vector]:
        """Shoulder, elbow, hand."""
        swing, bend, inward = -0.8 * self._swing(side), 0.35, 0.0
        carried = self.traits.carried
        if carried == "parcel":
            swing, bend, inward = 0.25, 1.35, 0.02
        elif carried in ("handbag", "suitcase") and side == self.traits.carried_side:
            swing, bend = (-0.25, 0.1) if carried == "suitcase" else (0.0, 0.1)
        elif self.pose.gesture == "phone" and side == 1:
            swing, bend, inward = 0.45, 1.9, 0.05
        elif self.pose.gesture == "folded":
            swing, bend, inward = 0.2, 1.5, 0.1
        elif self.pose.gesture == "pockets":
            swing, bend, inward = -0.3, 0.8, 0.02
        shoulder = (side * self.half, self.shoulder - 0.02, 0.0)
        elbow = (side * (self.half + 0.025), shoulder[1] - 0.165 * cos(swing), 0.165 * sin(swing))
        reach = swing + bend
        hand = (
            side * (self.half + 0.02 - inward),
            elbow[1] - 0.15 * cos(reach),
            elbow[2] + 0.15 * sin(reach),
        )
        return shoulder, elbow, hand

    # -- drawing

    def _capsule(
        self, a: Vector, b: Vector, ra: float, rb: float, part: int, shade: float = NEUTRAL
    ) -> None:
        self.canvas.limb([self._bone(a, b, ra, rb, part)], shade)

    def _bone(self, a: Vector, b: Vector, ra: float, rb: float, part: int) -> Bone:
        ra, rb = ra * self.scale(a[1]), rb * self.scale(b[1])
        return Bone(self.at(a), self.at(b), ra, rb, self.first + part)

    def _trunk_rows(self) -> list[tuple[float, float, float]]:
        hem = self.hip - 0.02 - self.traits.coat
        flare = 1.12 if self.traits.coat else 1.0
        profile = (
            (self.shoulder + 0.035, 0.035, 0.035),
            (self.shoulder + 0.012, self.half * 0.82, self.depth * 0.8),
            (self.shoulder - 0.03, self.half, self.depth),
            (self.shoulder - 0.11, self.half * 0.93, self.depth * 1.15),
            (0.60, self.waist * 0.96, self.depth * 1.02),
            (self.hip + 0.02, self.waist, self.depth * 1.1),
            (hem, self.waist * flare, self.depth * 1.1 * flare),
        )
        rows = []
        for y, half, depth in profile:
            x, down = self.at((0.0, y, 0.0))
            rows.append((x, down, self.girth(half, depth, y)))
        return rows

    def _trunk(self) -> Limb:
        return 0.0, lambda: self.canvas.spindle(self._trunk_rows(), self.first + Part.TORSO)

    def _skirt(self) -> Limb:
        hem = 0.28 if self.traits.cut == "skirt" else 0.1
        rows = []
        for y, half in ((self.hip + 0.03, 1.0), (self.hip - 0.06, 1.12), (hem, 1.35)):
            x, down = self.at((0.0, y, 0.0))
            reach = (self.hip - y) * abs(sin(self._swing(1))) if y < self.hip else 0.0
            depth = self.depth * half * 1.15 + reach
            rows.append((x, down, self.girth(self.waist * half, depth, y)))
        return -0.0005, lambda: self.canvas.spindle(rows, self.first + Part.THIGH)

    def _draw_leg(self, leg: tuple[Vector, Vector, Vector], side: int) -> list[Limb]:
        hip, knee, ankle = leg
        cut, girth = self.traits.cut, self.traits.girth
        bare = cut in ("shorts", "skirt", "gown")
        widths = {"wide": (0.062, 0.052, 0.05), "leggings": (0.05, 0.036, 0.026)}.get(
            cut, (0.058, 0.043, 0.033)
        )
        top, middle, low = (width * (0.75 + 0.25 * girth) for width in widths)
        if bare:
            middle, low = 0.036, 0.025
        shade = NEUTRAL - 12 if self.near(hip) < 0 else NEUTRAL
        thigh, shin = (Part.SKIN, Part.SKIN) if bare else (Part.THIGH, Part.SHIN)

        bones = [
            self._bone(knee, ankle, middle, low, shin),
            self._bone(hip, knee, top, middle, thigh),
        ]
        hem = self._bone(hip, _interpolate(hip, knee, 0.85), top, middle * 1.35, Part.THIGH)

        def draw() -> None:
            self._foot(ankle, shade)
            self.canvas.limb(bones, shade)
            if cut == "shorts":
                self.canvas.limb([hem], shade)
            if self.traits.boots:
                self._capsule(
                    _interpolate(knee, ankle, 0.45), ankle, low * 1.35, low * 1.1, Part.SHOE, shade
                )
            self._trim(leg, (top, middle, low), side, shade)

        return [(0.1 * self.near(hip) - 0.02, draw)]  # always behind the trunk and a skirt

    def _trim(
        self,
        leg: tuple[Vector, Vector, Vector],
        radii: tuple[float, float, float],
        side: int,
        shade: float,
    ) -> None:
        hip, knee, ankle = leg
        if self.traits.cut in ("shorts", "skirt", "gown"):
            return
        top, middle, low = radii
        match self.traits.trim:
            case "stripe" if self.near((side * 1.0, 0.0, 0.0)) > -0.3:
                for start, end, ra, rb in ((hip, knee, top, middle), (knee, ankle, middle, low)):
                    self._capsule(
                        (start[0] + side * ra * 0.8, *start[1:]),
                        (end[0] + side * rb * 0.8, *end[1:]),
                        0.012,
                        0.012,
                        Part.TRIM,
                        shade,
                    )
            case "cuffs":
                self._capsule(
                    _interpolate(knee, ankle, 0.68),
                    _interpolate(knee, ankle, 0.9),
                    low * 1.1,
                    low * 1.1,
                    Part.TRIM,
                    shade,
                )
            case "knees":
                self._capsule(
                    _interpolate(hip, knee, 0.9),
                    _interpolate(knee, ankle, 0.15),
                    middle,
                    middle,
                    Part.TRIM,
                    shade,
                )

    def _foot(self, ankle: Vector, shade: float) -> None:
        x, y, z = ankle
        heel, toe = (x, y - 0.005, z - 0.01), (x * 1.1, y - 0.012, z + 0.075)
        self._capsule(
            (heel[0], heel[1] - 0.012, heel[2]),
            (toe[0], toe[1] - 0.008, toe[2]),
            0.024,
            0.02,
            Part.SOLE,
            shade,
        )
        self._capsule(heel, toe, 0.026, 0.021, Part.SHOE, shade)

    def _draw_arm(self, side: int) -> list[Limb]:
        shoulder, elbow, hand = self._arm(side)
        sleeves = self.traits.sleeves
        thick = 0.8 + 0.2 * self.traits.girth + 0.3 * self.traits.bulk
        shade = NEUTRAL - 14 if self.near(shoulder) < -0.02 else NEUTRAL - 4

        def draw() -> None:
            x, y, z = hand
            self.canvas.ball(
                self.at((x, y - 0.015, z)),
                0.021 * self.size,
                0.027 * self.size,
                self.first + Part.HAND,
            )
            over = Part.SLEEVE if sleeves == "long" else Part.SKIN
            bones = [
                self._bone(elbow, hand, 0.032 * thick, 0.024 * thick, over),
                self._bone(shoulder, elbow, 0.039 * thick, 0.032 * thick, over),
            ]
            self.canvas.limb(bones, shade)
            if sleeves == "short":
                self._capsule(
                    shoulder,
                    _interpolate(shoulder, elbow, 0.62),
                    self.traits.sleeve_radius * thick,
                    self.traits.sleeve_radius * thick,
                    Part.SLEEVE,
                    shade,
                )
            if self.traits.carried == "handbag" and side == self.traits.carried_side:
                self._handbag(hand)

        return [(self.near(shoulder) * 1.1 + 0.4 * self.near(hand) + 0.002, draw)]

    def _handbag(self, hand: Vector) -> None:
        x, y = self.at((hand[0], hand[1] - 0.12, hand[2]))
        wide, tall = self.girth(0.035, 0.085), 0.055 * self.size
        grip = self.at(hand)
        self.canvas.capsule(grip, (x, y - tall), 1.2, wide * 0.6, self.first + Part.STRAP)
        self.canvas.spindle(
            [(x, y - tall, wide * 0.85), (x, y + tall, wide)], self.first + Part.BAG
        )

    # -- head

    def _head(self) -> list[Limb]:
        limbs: list[Limb] = [(0.001, self._neck)]
        if self.traits.hair in ("long", "ponytail", "bun"):
            limbs.append((self.near((0.0, 0.0, -0.06)), self._back_hair))
        limbs.append((0.012, self._skull))
        if self.traits.scarf is not None:
            limbs.append((0.011, self._wrap))
        return limbs

    def _neck(self) -> None:
        self._capsule((0, 0.81, 0.0), (0, 0.88, 0.008), 0.034, 0.03, Part.SKIN, NEUTRAL - 16)

    def _wrap(self) -> None:
        x, y = self.at((0, 0.842, 0.01))
        self.canvas.ball((x, y), 0.062 * self.size, 0.03 * self.size, self.first + Part.SCARF)
        if self.cos > -0.2:
            self._capsule((0.02, 0.83, 0.06), (0.025, 0.70, 0.075), 0.022, 0.026, Part.SCARF)

    def _back_hair(self) -> None:
        match self.traits.hair:
            case "long":
                self._capsule((0, 0.92, -0.02), (0, 0.77, -0.065), 0.056, 0.06, Part.HAIR)
            case "ponytail":
                self._capsule((0, 0.95, -0.07), (0, 0.80, -0.1), 0.026, 0.02, Part.HAIR)
            case "bun":
                self._capsule((0, 0.975, -0.075), (0, 0.985, -0.08), 0.032, 0.032, Part.HAIR)

    def _skull(self) -> None:
        size, canvas = self.scale(1.0), self.canvas
        x, y = self.at((0, 0.93, 0.012))
        hairy = self.traits.hair != "bald"
        afro = 1.3 if self.traits.hair == "afro" and self.traits.headwear == "none" else 1.0
        head = Part.HAIR if hairy else Part.SKIN
        canvas.ball(
            (x, y - 0.006 * size), 0.054 * afro * size, 0.070 * afro * size, self.first + head
        )
        if self.cos > -0.35:
            self._face(x, y)
        self._headwear(x, y)

    def _face(self, x: float, y: float) -> None:
        size, canvas = self.scale(1.0), self.canvas
        wide = (0.026 + 0.018 * max(self.cos, 0.0)) * size * self.traits.face
        fx = x + 0.024 * self.sin * size
        canvas.ball((fx, y + 0.012 * size), wide, 0.054 * size, self.first + Part.SKIN, NEUTRAL + 4)
        eye_y = y + 0.002 * size
        thick = 0.014 if self.traits.glasses else 0.006
        for side in (-1, 1):
            where = 0.020 * side * self.cos + 0.034 * self.sin
            if self.near((side * 0.02, 0.0, 0.034)) > 0:
                canvas.ellipse(
                    (x + where * size, eye_y),
                    thick * size,
                    thick * 0.8 * size,
                    self.first + Part.EYE,
                )

    def _headwear(self, x: float, y: float) -> None:
        size, canvas, label = self.scale(1.0), self.canvas, self.first + Part.HAT
        top = y - 0.035 * size
        kind = self.traits.headwear
        if kind == "none":
            return
        wide = {"helmet": 0.066, "beanie": 0.058}.get(kind, 0.056) * size
        crown = {"helmet": 0.062, "beanie": 0.060}.get(kind, 0.045) * size
        canvas.ball((x, top), wide, crown, label)
        canvas.polygon(
            [
                (x - wide, top),
                (x + wide, top),
                (x + wide, top + 0.014 * size),
                (x - wide, top + 0.014 * size),
            ],
            label,
        )
        if kind == "cap" and self.cos > -0.5:
            canvas.ellipse(
                (x + 0.055 * self.sin * size, top + 0.012 * size),
                wide * 0.75,
                0.013 * size,
                label,
                NEUTRAL - 30,
            )
        if kind == "brim":
            canvas.ellipse((x, top + 0.01 * size), 0.098 * size, 0.018 * size, label, NEUTRAL - 20)

    # -- things carried

    def _draw_carried(self) -> list[Limb]:
        match self.traits.carried:
            case "backpack":
                return [
                    (self.near((0, 0, -self.depth - 0.04)), self._backpack),
                    (self.near((0, 0, self.depth)), self._straps),
                ]
            case "satchel":
                return self._satchel()
            case "suitcase":
                return [(self.near((self.traits.carried_side * 0.16, 0, -0.14)), self._suitcase)]
            case "parcel":
                return [(self.near((0, 0, self.depth + 0.08)), self._parcel)]
        return []

    def _block(self, center: Vector, half: Vector, part: int = Part.BAG) -> None:
        x, y = self.at(center)
        wide, tall = self.girth(half[0], half[2]), half[1] * self.size
        rows = [
            (x, y - tall, wide * 0.8),
            (x, y - tall * 0.8, wide),
            (x, y + tall * 0.85, wide),
            (x, y + tall, wide * 0.9),
        ]
        self.canvas.spindle(rows, self.first + part)

    def _backpack(self) -> None:
        self._block((0, 0.685, -self.depth - 0.045), (0.085, 0.12, 0.05))
        if self.cos < 0.3:
            self._block((0, 0.64, -self.depth - 0.09), (0.055, 0.045, 0.015), Part.STRAP)

    def _straps(self) -> None:
        if self.cos > -0.1:
            for side in (-1, 1):
                x = side * self.half * 0.58
                self._capsule((x, 0.83, 0.02), (x, 0.66, self.depth), 0.014, 0.012, Part.STRAP)

    def _satchel(self) -> list[Limb]:
        side = self.traits.carried_side
        low: Vector = (side * (self.waist + 0.01), 0.52, 0.0)

        def strap(depth: float) -> Callable[[], None]:
            start, end = (-side * self.half * 0.5, 0.83, 0.2 * depth), (low[0], 0.55, depth * 0.6)
            return lambda: self._capsule(start, end, 0.012, 0.012, Part.STRAP)

        return [
            (self.near((0, 0, self.depth)), strap(self.depth)),
            (self.near((0, 0, -self.depth)), strap(-self.depth)),
            (
                self.near((side * 0.16, 0, 0)) * 1.2,
                lambda: self._block((low[0] + side * 0.03, 0.47, -0.01), (0.04, 0.065, 0.095)),
            ),
        ]

    def _suitcase(self) -> None:
        side = self.traits.carried_side
        hand = self._arm(side)[2]
        self._capsule(hand, (side * 0.17, 0.3, -0.16), 0.008, 0.008, Part.STRAP)
        self._block((side * 0.17, 0.17, -0.16), (0.085, 0.13, 0.05))

    def _parcel(self) -> None:
        self._block((0, 0.63, self.depth + 0.09), (0.12, 0.07, 0.07))
        if self.cos > -0.2:
            self._block((0, 0.63, self.depth + 0.16), (0.018, 0.07, 0.01), Part.STRAP)


def _interpolate(a: Vector, b: Vector, share: float) -> Vector:
    return a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share, a[2] + (b[2] - a[2]) * share


def _make_cloth(cloth: Cloth, warmer: float = 0.0) -> Material:
    return Material(cloth.color, cloth.nir, min(max(cloth.warmth + warmer, 0.0), 1.0))


def _make_skin(color: Color, warmth: float) -> Material:
    # near infrared enters skin: its tones come close
    return Material(color, 0.62 + 0.15 * color[0], warmth)


def _darken(color: Color) -> Color:
    return color[0] * 0.55, color[1] * 0.55, color[2] * 0.55
