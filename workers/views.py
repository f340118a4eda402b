"""Shards of crops and backward views: the part of every top image that its unit sees, and what in it made it answer.

Imports torch: in the child only.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from core.errors import UndefinedView
from core.specs import SHEET_TILES, BackwardKind, Side
from db.passes import ViewRow, Views
from db.work import BackwardLease, TopAddress
from deepvis.crops import crop, crop_view
from deepvis.inputs import in_whole_image
from deepvis.pictures import Pixels, mosaic, sheet
from deepvis.views import render_view
from deepvis.windows import Box
from workers.committer import Committer, Encode, Keep, Parcel
from workers.engines import Engine
from workers.held import HeldLease
from workers.runtime import Runtime
from workers.set_pictures import SetPictures
from workers.stages import StageTimes

CROP = "crop"
NO_IMAGES = "It answers to no image of the set with a number."


@dataclass(frozen=True)
class _Made:
    """Tiles of one unit's top images on one side, of one kind, on their way to the store."""

    unit: int
    side: Side
    kind: str
    tiles: int
    width: int
    height: int
    key: Future[list[str]] | None
    why: str | None = None
    boxes: Sequence[Sequence[float]] = ()  # of crops: see `db.probe_models.UnitView`


class ViewParcel(Parcel):
    """Crops and views of some units."""

    def __init__(self, held: HeldLease, times: StageTimes, lease: BackwardLease) -> None:
        super().__init__(held, times)
        self.lease_of_views = lease
        self.made: list[_Made] = []
        self.best: dict[int, Pixels] = {}  # of each unit, the crop of its first top image

    def add(self, committer: Committer, drawn: "_Drawn") -> None:
        """Begin to encode and store a unit's tiles."""
        unit, side = drawn.unit, drawn.side
        for kind, tiles in drawn.tiles.items():
            height, width = tiles[0].shape[:2]
            key = committer.keep_later(self, [partial(mosaic, tiles, columns_of(len(tiles)))])
            boxes = drawn.boxes if kind == CROP else ()
            self.made.append(_Made(unit, side, kind, len(tiles), width, height, key, boxes=boxes))
        self.made += [_Made(unit, side, kind, 0, 0, 0, None, reason) for kind, reason in drawn.why.items()]
        if side == Side.TOP:
            self.best[unit] = drawn.tiles[CROP][0]

    def result(self, keep: Keep) -> Views:
        places = self._sheets(keep)
        rows = [_row(made, places) for made in self.made]
        silent = set(self.lease_of_views.units) - {made.unit for made in self.made}
        rows += [_row(_Made(unit, Side.TOP, CROP, 0, 0, 0, None, NO_IMAGES), places) for unit in sorted(silent)]
        seconds = self.times.seconds()["compute"]
        return Views(rows=rows, images=len(self.lease_of_views.tops), seconds=seconds)

    def _sheets(self, keep: Keep) -> Mapping[int, tuple[str, int]]:
        """Store sprite sheets of the best crops; where each unit's is."""
        units = sorted(self.best)
        groups = [units[start : start + SHEET_TILES] for start in range(0, len(units), SHEET_TILES)]
        encodes: list[Encode] = [partial(sheet, [self.best[unit] for unit in group]) for group in groups]
        keys = zip(groups, keep(encodes), strict=True)
        return {unit: (key, place) for group, key in keys for place, unit in enumerate(group)}


def compute_views(
    runtime: Runtime, engine: Engine, held: HeldLease, lease: BackwardLease, times: StageTimes
) -> ViewParcel:
    """Cut the top images out, and trace each unit's answer back to them.

    Raises:
        UnknownProbeSet: the set was deleted.
    """
    parcel = ViewParcel(held, times, lease)
    drawer = _Drawer(runtime, engine, lease)
    done = 0
    for tops in _groups(lease.tops, engine.probe_batch_size):
        for drawn in drawer.draw(tops):
            parcel.add(runtime.committer, drawn)
        done += len(tops)
        held.progress(done / len(lease.tops))
    return parcel


def _groups(tops: Sequence[TopAddress], rows: int) -> Iterator[list[TopAddress]]:
    """Whole units' top images, about `rows` at a time."""
    group: list[TopAddress] = []
    for _, of_unit in groupby(tops, key=lambda top: top.unit):
        group += of_unit
        if len(group) >= rows:
            yield group
            group = []
    if group:
        yield group


@dataclass(frozen=True)
class _Drawn:
    """Tiles of one unit's top images on one side, by kind and rank; and why some kinds have none."""

    unit: int
    side: Side
    tiles: Mapping[str, Sequence[Pixels]]
    boxes: Sequence[Sequence[float]]  # where the crops lie in the whole pictures; none where one is not known
    why: Mapping[str, str]


class _Drawer:
    """Draws the tiles of one layer."""

    def __init__(self, runtime: Runtime, engine: Engine, lease: BackwardLease) -> None:
        self._engine = engine
        self._layer = lease.layer
        self._field = engine.fields([lease.layer])[lease.layer.name]
        self._pictures = SetPictures(runtime, lease.set_id, engine.input_shape)
        self._kinds: tuple[BackwardKind, ...] = lease.wish.backward
        self._why: dict[str, str] = {}  # kinds that have no meaning here

    def draw(self, tops: Sequence[TopAddress]) -> Iterator[_Drawn]:
        """The tiles of whole units."""
        pixels = self._pictures.read([top.image for top in tops], self._engine.fill)
        signals = self._signals(tops, pixels)
        numbered = list(enumerate(tops))
        for (unit, side), of_side in groupby(numbered, key=lambda each: (each[1].unit, each[1].side)):
            rows = [(row, self._field.box(top.position)) for row, top in of_side]
            tiles: dict[str, list[Pixels]] = {CROP: [crop(pixels[row], box, self._engine.fill) for row, box in rows]}
            for kind, signal in signals.items():
                tiles[kind] = [render_view(crop_view(signal[row], box)) for row, box in rows]
            boxes = [self._box(tops[row].image, box) for row, box in rows]
            yield _Drawn(unit, side, tiles, [] if None in boxes else list(filter(None, boxes)), self._why)

    def _box(self, image: int, box: Box) -> Sequence[float] | None:
        """Where the box lies in the whole picture, in its pixels; None for one that is not there any more."""
        size = self._pictures.sizes.get(image)
        return in_whole_image(box, size, self._engine.input_shape) if size else None

    def _signals(self, tops: Sequence[TopAddress], pixels: Pixels) -> Mapping[BackwardKind, NDArray[np.float32]]:
        addresses = [(top.unit, top.position) for top in tops]
        wanted = [kind for kind in self._kinds if kind not in self._why]
        if not wanted:
            return {}
        try:
            return self._engine.backward(self._layer, pixels, addresses, wanted)
        except UndefinedView as error:
            self._why = {kind: error.detail for kind in self._kinds if kind != BackwardKind.GRADIENT}
            return self._signals(tops, pixels)


def columns_of(tiles: int) -> int:
    """Tiles in a row, so that they fill about a square."""
    return math.ceil(math.sqrt(tiles)) if tiles else 0


def _row(made: _Made, places: Mapping[int, tuple[str, int]]) -> ViewRow:
    key, place = places.get(made.unit, (None, None)) if (made.side, made.kind) == (Side.TOP, CROP) else (None, None)
    return ViewRow(
        unit=made.unit,
        side=made.side,
        kind=made.kind,
        blob=made.key.result()[0] if made.key else None,
        why=made.why,
        boxes=[list(box) for box in made.boxes],
        columns=columns_of(made.tiles),
        count=made.tiles,
        width=made.width,
        height=made.height,
        sheet=key,
        sheet_index=place,
    )
