"""The switches of the varied world, which is wider than the plain one where that is unlike real
images.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields


@dataclass(frozen=True, kw_only=True)
class Variety:
    """Every difference between the varied world and the plain one, each apart; all are on.

    Attributes:
        background: A fresh backdrop for each shot, drawn, textured or photographed, so that it
            tells nothing. Needs the photographs of scikit-image and scikit-learn
            (`pip install 'trireid[photos]'`).
        surface: Folds, weave and quilting of cloth; reflections on paint and glass.
        light: A sun that models bodies and casts shadows, shade of leaves.
        camera: Response of a camera (cast, exposure, gamma, saturation, contrast, noise, heat of
            the ground) drawn afresh for each pair of identity and camera.
        pose: Any direction and gait, cameras from eye level to far above.
        framing: Crops as a detector leaves them: off-center, cut, of any aspect, and small.
        traits: Clothes and paints as frequent as in a street, so that many identities look alike.
        palette: False colors in a part of the thermal images, as many thermal cameras write them.
    """

    background: bool = True
    surface: bool = True
    light: bool = True
    camera: bool = True
    pose: bool = True
    framing: bool = True
    traits: bool = True
    palette: bool = True

    def __bool__(self) -> bool:
        return any(vars(self).values())


SWITCHES = tuple(field.name for field in fields(Variety))
ALL = Variety()
NONE = Variety(**dict.fromkeys(SWITCHES, False))


def make_variety(varied: bool | Iterable[str] | Variety) -> Variety:
    """Make the switches that `varied` asks for.

    Args:
        varied: True for all, False for none, the names of those that are on, or the switches.

    Raises:
        ValueError: A name is not a switch.
    """
    if isinstance(varied, Variety):
        return varied
    if isinstance(varied, bool):
        return ALL if varied else NONE
    names = [varied] if isinstance(varied, str) else list(varied)
    for name in names:
        if name not in SWITCHES:
            raise ValueError(f"varied must be some of {', '.join(SWITCHES)}, not {name!r}")
    return Variety(**{name: name in names for name in SWITCHES})
