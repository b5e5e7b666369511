"""Traits: what stays with an identity from camera to camera and from shot to shot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from trireid.demo.synthetic.palette import CLOTH, HAIR, PAINT, PLATE, SKIN, Color

T = TypeVar("T")

PATTERNS = (
    "plain",
    "hoops",
    "stripes",
    "checks",
    "band",
    "logo",
    "halves",
    "yoke",
    "sash",
    "dots",
    "flanks",
    "hem",
)
REFLECTANCES = (0.12, 0.36, 0.62, 0.9)  # near infrared, of cloth and paint
WARMTHS = (0.15, 0.4, 0.65, 0.9)  # how much of the body's heat comes through the cloth


@dataclass(frozen=True)
class Cloth:
    """A textile: its visible color, near infrared reflectance and how warm it looks."""

    color: Color
    nir: float
    warmth: float


@dataclass(frozen=True)
class PersonTraits:
    """One person: body, hair, clothes, things carried. Lengths are shares of the body's height.

    `bulk`: how much a jacket adds to the body, about 0..1; `sleeve_radius`: of short sleeves;
    `face`: a factor on its width.
    """

    shoulders: float
    girth: float
    legs: float
    skin: Color
    hair: str
    hair_color: Color
    headwear: str
    hat: Cloth
    glasses: bool
    scarf: Cloth | None
    upper: Cloth
    coat: float
    sleeves: str
    sleeve: Cloth
    pattern: str
    print: Cloth
    heat_zone: str
    heat_step: float
    reflective: str
    lower: Cloth
    cut: str
    trim: str
    trim_cloth: Cloth
    shin_warmth: float
    shoes: Cloth
    boots: bool
    carried: str
    carried_side: int
    bag: Cloth
    bulk: float = 0.0
    sleeve_radius: float = 0.042
    face: float = 1.0


@dataclass(frozen=True)
class CarTraits:
    """One vehicle: body, paint, decals, wheels, roof load, and where it is warm.

    `shape`: factors on the heights above and below the belt, a shift ahead of the cabin in car
    lengths, and a factor on the wheels.
    """

    body: str
    width: float
    paint: Cloth
    second: Cloth
    two_tone: str
    decal: str
    decal_cloth: Cloth
    tint: float
    glass_nir: float
    rim: str
    rim_tone: float
    grille: str
    lamp: str
    plate: Color
    plate_nir: float
    dark_bumpers: bool
    roof: str
    roof_cloth: Cloth
    engine: str
    brakes: str
    exhaust: str
    cabin: float
    hot_panel: str
    tyre_warmth: float
    shape: tuple[float, float, float, float] = (1.0, 1.0, 0.0, 1.0)


def draw_person(rng: np.random.Generator) -> PersonTraits:
    """A person whose traits are drawn one independently of the other."""
    upper = _make_cloth(rng, CLOTH)
    other = _make_cloth(rng, CLOTH, apart_from=upper.color)
    lower = _make_cloth(rng, CLOTH)
    return PersonTraits(
        shoulders=_pick(rng, (0.095, 0.112, 0.13)),
        girth=_pick(rng, (0.8, 1.0, 1.25)),
        legs=_pick(rng, (0.47, 0.50, 0.53)),
        skin=_pick(rng, SKIN),
        hair=_pick(rng, ("bald", "short", "short", "long", "long", "ponytail", "bun", "afro")),
        hair_color=_pick(rng, tuple(HAIR.values())),
        headwear=_pick(rng, ("none", "none", "none", "cap", "beanie", "brim", "helmet")),
        hat=_make_cloth(rng, CLOTH),
        glasses=bool(rng.random() < 0.3),
        scarf=_make_cloth(rng, CLOTH) if rng.random() < 0.25 else None,
        upper=upper,
        coat=_pick(rng, (0.0, 0.0, 0.06, 0.2)),
        sleeves=_pick(rng, ("none", "short", "long", "long")),
        sleeve=_pick(rng, (upper, upper, other)),
        pattern=_pick(rng, PATTERNS),
        print=other,
        heat_zone=_pick(rng, ("none", "front", "yoke", "waist", "spine")),
        heat_step=_pick(rng, (-0.35, 0.35)),
        reflective=_pick(rng, ("none", "none", "none", "belt", "braces", "harness")),
        lower=lower,
        cut=_pick(rng, ("trousers", "trousers", "wide", "leggings", "shorts", "skirt", "gown")),
        trim=_pick(rng, ("none", "none", "stripe", "cuffs", "knees")),
        trim_cloth=_make_cloth(rng, CLOTH, apart_from=lower.color),
        shin_warmth=_pick(rng, WARMTHS),
        shoes=_make_cloth(rng, CLOTH),
        boots=bool(rng.random() < 0.3),
        carried=_pick(
            rng,
            ("none", "none", "backpack", "backpack", "satchel", "handbag", "suitcase", "parcel"),
        ),
        carried_side=_pick(rng, (-1, 1)),
        bag=_make_cloth(rng, CLOTH, warmths=(0.0, 0.12, 0.25)),
    )


def draw_car(rng: np.random.Generator) -> CarTraits:
    """A vehicle whose traits are drawn one independently of the other."""
    paint = _make_cloth(rng, PAINT, warmths=(0.1, 0.28, 0.45))
    return CarTraits(
        body=_pick(rng, ("sedan", "hatch", "suv", "van", "pickup", "coupe", "estate", "lorry")),
        width=_pick(rng, (0.38, 0.42)),
        paint=paint,
        second=_make_cloth(rng, PAINT, apart_from=paint.color, warmths=(0.1, 0.28, 0.45)),
        two_tone=_pick(rng, ("none", "none", "roof", "bonnet", "lower", "rear", "door")),
        decal=_pick(rng, ("none", "none", "stripe", "disc", "blocks", "racing", "slash", "checks")),
        decal_cloth=_make_cloth(rng, PAINT, apart_from=paint.color, warmths=(0.1, 0.28, 0.45)),
        tint=_pick(rng, (0.05, 0.16, 0.32)),
        glass_nir=_pick(rng, (0.05, 0.3, 0.55)),
        rim=_pick(rng, ("spokes", "star", "disc", "steel", "mesh")),
        rim_tone=_pick(rng, (0.12, 0.5, 0.88)),
        grille=_pick(rng, ("wide", "tall", "split", "closed")),
        lamp=_pick(rng, ("round", "slim", "block")),
        plate=_pick(rng, tuple(PLATE.values())),
        plate_nir=_pick(rng, (0.2, 0.95)),
        dark_bumpers=bool(rng.random() < 0.35),
        roof=_pick(rng, ("none", "none", "rails", "box", "sign", "beacon", "ladder")),
        roof_cloth=_make_cloth(rng, PAINT, warmths=(0.1, 0.28, 0.45)),
        engine=_pick(rng, ("cold", "front", "front", "nose", "rear")),
        brakes=_pick(rng, ("none", "front", "rear", "both")),
        exhaust=_pick(rng, ("none", "left", "right", "both")),
        cabin=_pick(rng, (0.05, 0.4, 0.75)),
        hot_panel=_pick(
            rng, ("none", "none", "front door", "rear door", "rear wing", "sill", "roof")
        ),
        tyre_warmth=_pick(rng, (0.15, 0.45)),
    )


def _pick(rng: np.random.Generator, choices: Sequence[T]) -> T:
    return choices[int(rng.integers(len(choices)))]


def _make_cloth(
    rng: np.random.Generator,
    colors: dict[str, Color],
    apart_from: Color | None = None,
    warmths: Sequence[float] = WARMTHS,
) -> Cloth:
    allowed = [color for color in colors.values() if color != apart_from]
    return Cloth(_pick(rng, allowed), _pick(rng, REFLECTANCES), _pick(rng, warmths))
