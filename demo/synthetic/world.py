"""The world: identities, the cameras that see them, and any of their shots, drawn on demand."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from trireid.demo.synthetic.background import draw_backdrop
from trireid.demo.synthetic.camera import CAMERAS, Camera, Conditions, draw_conditions, place_camera
from trireid.demo.synthetic.light import expose
from trireid.demo.synthetic.palette import Bytes
from trireid.demo.synthetic.scene import SIZES, frame_backdrop, paint_scene
from trireid.demo.synthetic.seeds import SPLITS, Split, make_generator
from trireid.demo.synthetic.stage import Changes, set_stage
from trireid.demo.synthetic.street import (
    OUTFITS,
    choose_outfit,
    draw_pedestrian,
    draw_stranger,
    draw_traffic,
)
from trireid.demo.synthetic.sun import shine
from trireid.demo.synthetic.surface import lay_surface
from trireid.demo.synthetic.traits import CarTraits, PersonTraits, draw_car, draw_person
from trireid.demo.synthetic.variety import Variety, make_variety
from trireid.demo.synthetic.viewpoint import (
    draw_frame,
    paint_heat,
    resize_triplet,
    vary_conditions,
    vary_response,
    vary_viewpoint,
)
from trireid.samples.sample import KINDS, Kind

SEEN_BY = 4  # cameras per identity


@dataclass(frozen=True)
class World:
    """A synthetic world of persons (256 x 128) or vehicles (128 x 256), whole in its `seed`.

    The two splits share their cameras and nothing else: no identity of one is drawn from the same
    numbers as one of the other. `varied`: wider where the plain world is unlike real images, True
    for all of `Variety` or the names of its switches. Raises ValueError for an unknown kind, split
    or switch and for a negative seed.
    """

    kind: Kind = "person"
    split: Split = "test"
    seed: int = 0
    varied: bool | tuple[str, ...] | Variety = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {self.kind!r}")
        if self.split not in SPLITS:
            raise ValueError(f"split must be one of {', '.join(SPLITS)}, not {self.split!r}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, not {self.seed}")
        make_variety(self.varied)

    @cached_property
    def variety(self) -> Variety:
        """The switches of what varies."""
        return make_variety(self.varied)

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
        if not self.variety.traits:
            return draw_person(rng) if self.kind == "person" else draw_car(rng)
        if self.kind == "vehicle":
            return draw_traffic(rng)
        shared = choose_outfit(self._make_generator("likeness", identity))
        outfit = OUTFITS + identity if shared is None else shared
        return draw_pedestrian(rng, self._make_generator("outfit", outfit))

    def render(self, identity: int, camera: int, shot: int) -> Bytes:
        """One shot: uint8 [3, H, W, 3] (modality rgb, nir, tir; height, width, channel),
        pixel-aligned.

        Equal arguments give equal pixels, in any order and process; `identity` and `shot` have no
        upper end. Any of the cameras can be asked for, also one that is not among
        `assign_cameras(identity)`. Raises ValueError for a negative number and for a camera that
        does not exist, ModuleNotFoundError if the photographs of a varied backdrop are missing.
        """
        _check_index("identity", identity), _check_index("shot", shot)
        if not 0 <= camera < CAMERAS:
            raise ValueError(f"camera must lie in 0..{CAMERAS - 1}, not {camera}")
        rng = self._make_generator("shot", identity, camera, shot)
        setup = self._set_up(identity, camera)
        conditions = draw_conditions(rng, setup)
        if not self.variety:
            stage = set_stage(rng, self.traits(identity), setup, self.size)
            scene = paint_scene(self.seed, self.kind, camera)
            backdrop = frame_backdrop(rng, scene, *self.size)
            return expose(stage.planes(), backdrop, setup, conditions, rng)
        return self._render_varied(rng, (identity, camera, shot), setup, conditions)

    def _render_varied(
        self,
        rng: np.random.Generator,
        name: tuple[int, int, int],
        setup: Camera,
        conditions: Conditions,
    ) -> Bytes:
        variety, (identity, camera, _) = self.variety, name
        if variety.camera:
            own = self._make_generator("response", *name, 1)
            conditions = vary_conditions(own, conditions, self.kind)
        changes = Changes(
            frame=draw_frame(self._make_generator("framing", *name), self.kind, self.size)
            if variety.framing
            else None,
            pose=self._make_generator("pose", *name) if variety.pose else None,
            passer_by=draw_stranger if variety.traits else draw_person,
        )
        size = self.size if changes.frame is None else changes.frame.size
        stage = set_stage(rng, self.traits(identity), setup, size, changes)
        planes = stage.planes()
        if variety.surface:
            own = self._make_generator("folds", *name)
            identity_rng = self._make_generator("surface", identity)
            planes = lay_surface(planes, stage.labels, stage.torsos, identity_rng, own)
        if variety.background:
            backdrop = draw_backdrop(self._make_generator("background", *name), *size)
        else:
            backdrop = frame_backdrop(rng, paint_scene(self.seed, self.kind, camera), *size)
        if variety.light and not conditions.night:
            planes, backdrop = shine(planes, backdrop, self._make_generator("light", *name))
        images = expose(planes, backdrop, setup, conditions, rng)
        images = resize_triplet(images, self.size)
        if variety.palette:
            paint_heat(images, self._make_generator("palette", identity, camera))
        return images

    def _set_up(self, identity: int, camera: int) -> Camera:
        setup = _get_camera(self.seed, self.kind, camera)
        if self.variety.pose:
            own = self._make_generator("viewpoint", identity, camera)
            setup = vary_viewpoint(own, setup, self.kind)
        if self.variety.camera:
            setup = vary_response(self._make_generator("response", identity, camera), setup)
        return setup

    def _make_generator(self, stream: str, *name: int) -> np.random.Generator:
        return make_generator(self.seed, stream, self.kind, SPLITS.index(self.split), *name)


@lru_cache(maxsize=64)
def _get_camera(seed: int, kind: Kind, index: int) -> Camera:
    return place_camera(seed, kind, index)


def _check_index(name: str, value: int) -> int:
    if value < 0:
        raise ValueError(f"{name} must not be negative, not {value}")
    return value
