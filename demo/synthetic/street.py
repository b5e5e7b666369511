"""Traits as frequent as in a street, for the varied world: dark clothes and white cars abound, so
that many identities look alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from trireid.demo.synthetic.palette import CLOTH, HAIR, PAINT, PLATE, SKIN, Color
from trireid.demo.synthetic.traits import CarTraits, Cloth, PersonTraits, draw_car, draw_person

OUTFITS = 30  # outfits that identities of one split share
_ALIKE = 0.45  # share of the identities that wear one of them

_DYES: dict[str, float] = {
    "black": 28,
    "gray": 10,
    "white": 11,
    "navy": 9,
    "denim": 6,
    "brown": 5,
    "beige": 5,
    "olive": 4,
    "red": 5,
    "sky": 4,
    "green": 3,
    "pink": 3,
    "purple": 2,
    "teal": 2,
    "yellow": 2,
    "orange": 2,
}
_LEGS: dict[str, float] = {
    "black": 34,
    "denim": 27,
    "navy": 10,
    "gray": 9,
    "beige": 6,
    "brown": 4,
    "olive": 3,
    "white": 4,
    "red": 1,
    "green": 1,
    "pink": 1,
}
_LEATHER: dict[str, float] = {
    "black": 45,
    "white": 18,
    "brown": 12,
    "gray": 12,
    "navy": 5,
    "red": 4,
    "beige": 4,
}
_PAINTS: dict[str, float] = {
    "white": 32,
    "black": 20,
    "silver": 14,
    "graphite": 14,
    "blue": 7,
    "red": 5,
    "maroon": 2,
    "brown": 2,
    "beige": 1.5,
    "sky": 1,
    "green": 1,
    "yellow": 1,
    "orange": 1,
    "turquoise": 0.5,
}
_COLORS: dict[str, Color] = {**CLOTH, "denim": (0.22, 0.32, 0.50), "navy": (0.08, 0.10, 0.24)}


def draw_pedestrian(rng: np.random.Generator, outfit: np.random.Generator) -> PersonTraits:
    """Draw a person of the street: nearly half of them wear one of a few outfits.

    `outfit` draws the clothes, `rng` all that a person does not share.
    """
    base = draw_person(rng)
    clothes = _dress(outfit)
    return replace(
        clothes,
        shoulders=float(rng.uniform(0.1, 0.128)),
        girth=float(rng.uniform(0.8, 1.3)),
        legs=float(rng.uniform(0.465, 0.525)),
        skin=_tint(rng, SKIN[_choose(rng, (45, 30, 15, 10))], 0.04),
        hair=_weigh(rng, {"short": 56, "long": 20, "bald": 8, "ponytail": 8, "bun": 5, "afro": 3}),
        hair_color=_tint(
            rng,
            HAIR[_weigh(rng, {"black": 45, "brown": 30, "blond": 12, "gray": 9, "red": 4})],
            0.05,
        ),
        headwear=_weigh(rng, {"none": 84, "cap": 7, "beanie": 5, "brim": 2, "helmet": 2}),
        hat=_make_cloth(rng, _DYES),
        glasses=base.glasses and rng.random() < 0.4,
        face=float(rng.uniform(1.05, 1.2)),
        sleeve_radius=0.036,
        scarf=_make_cloth(rng, _DYES) if rng.random() < 0.08 else None,
        upper=_vary(rng, clothes.upper),
        sleeve=_vary(rng, clothes.sleeve),
        lower=_vary(rng, clothes.lower),
        heat_zone=base.heat_zone,
        heat_step=base.heat_step * float(rng.uniform(0.4, 1.2)),
        shin_warmth=base.shin_warmth,
        shoes=_make_cloth(rng, _LEATHER),
        boots=bool(rng.random() < 0.12),
        carried=_weigh(
            rng,
            {"none": 50, "backpack": 22, "satchel": 13, "handbag": 9, "suitcase": 3, "parcel": 3},
        ),
        carried_side=base.carried_side,
        bag=_make_cloth(rng, _DYES, (0.0, 0.25)),
    )


def draw_stranger(rng: np.random.Generator) -> PersonTraits:
    """Draw a pedestrian who shares an outfit with none."""
    return draw_pedestrian(rng, rng)


def choose_outfit(rng: np.random.Generator) -> int | None:
    """Choose the shared outfit of an identity, None for clothes of its own."""
    return int(rng.integers(OUTFITS)) if rng.random() < _ALIKE else None


def _dress(rng: np.random.Generator) -> PersonTraits:
    base = draw_person(rng)
    upper, other = _make_cloth(rng, _DYES), _make_cloth(rng, _DYES)
    sleeves = _weigh(rng, {"long": 60, "short": 36, "none": 4})
    jacket = sleeves == "long" and rng.random() < 0.65
    return replace(
        base,
        upper=upper,
        sleeves=sleeves,
        sleeve=other if rng.random() < 0.1 else upper,
        pattern=_weigh(
            rng,
            {
                "plain": 56,
                "open": 9 if jacket else 0,
                "zip": 4,
                "logo": 5,
                "letters": 6,
                "hoops": 3,
                "thin hoops": 3,
                "pinstripes": 2,
                "tartan": 4,
                "checks": 1,
                "stripes": 1,
                "band": 2,
                "shoulders": 3,
                "yoke": 2,
                "hem": 2,
                "dots": 1,
                "sash": 0.5,
            },
        ),
        print=other,
        coat=float(rng.choice((0.0, 0.03, 0.07, 0.14, 0.22), p=(0.3, 0.28, 0.2, 0.14, 0.08))),
        bulk=float(rng.uniform(0.2, 0.8)) if jacket else float(rng.uniform(0.0, 0.3)),
        reflective=base.reflective if rng.random() < 0.08 else "none",
        lower=_make_cloth(rng, _LEGS),
        cut=_weigh(
            rng, {"trousers": 50, "wide": 15, "leggings": 12, "shorts": 13, "skirt": 7, "gown": 3}
        ),
        trim=base.trim if rng.random() < 0.12 else "none",
        trim_cloth=_make_cloth(rng, _DYES),
    )


def draw_traffic(rng: np.random.Generator) -> CarTraits:
    """Draw a vehicle of the street."""
    base = draw_car(rng)
    paint = _make_cloth(rng, _PAINTS, (0.1, 0.45), PAINT)
    # paint that is white to the eye is bright in near infrared, too; black may be either
    bright = 0.3 * paint.color[0] + 0.59 * paint.color[1] + 0.11 * paint.color[2]
    paint = replace(paint, nir=float(np.clip(0.3 * paint.nir + 0.7 * bright, 0.03, 0.95)))
    return replace(
        base,
        body=_weigh(
            rng,
            {
                "suv": 34,
                "sedan": 28,
                "hatch": 14,
                "van": 8,
                "estate": 6,
                "coupe": 3,
                "pickup": 4,
                "lorry": 3,
            },
        ),
        width=float(rng.uniform(0.37, 0.43)),
        paint=paint,
        two_tone=base.two_tone if rng.random() < 0.08 else "none",
        second=_make_cloth(rng, _PAINTS, (0.1, 0.45), PAINT),
        decal=base.decal if rng.random() < 0.1 else "none",
        decal_cloth=_make_cloth(rng, _PAINTS, (0.1, 0.45), PAINT),
        tint=float(rng.uniform(0.03, 0.2)),
        rim_tone=float(rng.uniform(0.1, 0.9)),
        plate=_tint(rng, PLATE[_weigh(rng, {"blue": 40, "white": 40, "yellow": 8, "green": 12})]),
        roof=_weigh(rng, {"none": 62, "rails": 26, "box": 4, "sign": 3, "beacon": 3, "ladder": 2}),
        roof_cloth=_make_cloth(rng, {"black": 40, "silver": 40, "white": 20}, (0.1, 0.45), PAINT),
        shape=(
            float(rng.uniform(0.88, 1.1)),
            float(rng.uniform(0.92, 1.08)),
            float(rng.uniform(-0.03, 0.03)),
            float(rng.uniform(0.92, 1.12)),
        ),
    )


def _make_cloth(
    rng: np.random.Generator,
    weights: Mapping[str, float],
    warmths: tuple[float, float] = (0.12, 0.92),
    colors: Mapping[str, Color] = _COLORS,
) -> Cloth:
    color = _tint(rng, colors[_weigh(rng, weights)])
    return Cloth(color, float(rng.uniform(0.06, 0.95)), float(rng.uniform(*warmths)))


def _tint(rng: np.random.Generator, color: Color, spread: float = 0.05) -> Color:
    base = np.array(color)
    base = base.mean() + rng.uniform(0.5, 1.0) * (base - base.mean())
    red, green, blue = (
        base * rng.uniform(0.7, 1.25) * rng.normal(1, spread, 3) + rng.normal(0, spread / 3, 3)
    ).clip(0.01, 0.97)
    return float(red), float(green), float(blue)


def _vary(rng: np.random.Generator, cloth: Cloth) -> Cloth:
    """Vary a cloth a little, as two jackets of one brand differ; its heat depends on the wearer."""
    return Cloth(
        _tint(rng, cloth.color, 0.03),
        float(np.clip(cloth.nir + rng.normal(0, 0.1), 0.04, 0.97)),
        float(np.clip(cloth.warmth + rng.normal(0, 0.2), 0.05, 0.97)),
    )


def _choose(rng: np.random.Generator, weights: tuple[float, ...]) -> int:
    edges = np.cumsum(weights)
    return int(np.searchsorted(edges, rng.random() * edges[-1], side="right"))


def _weigh(rng: np.random.Generator, weights: Mapping[str, float]) -> str:
    return list(weights)[_choose(rng, tuple(weights.values()))]
