"""Shards of preferred pictures: computed in batches, encoded while the device goes on."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from functools import partial

from core.specs import SHEET_TILES
from db.results import PictureRow, Pictures
from db.work import PreferredLease
from deepvis.pictures import encode_png, sheet
from deepvis.preferred import PreferredPicture
from workers.committer import Committer, Encode, Keep, Parcel
from workers.engines import Engine
from workers.held import HeldLease
from workers.runtime import Runtime
from workers.stages import StageTimes

GROUP = 16
"""Pictures that a thread encodes and stores at once: waking it, and the disk, costs more than one of them."""

Tile = tuple[str, int]
"""Key of a sprite sheet in the store, and a place on it."""


class PictureParcel(Parcel):
    """A shard's preferred pictures; how they were made is the same for all of them."""

    def __init__(
        self, held: HeldLease, times: StageTimes, *, device: str, precision: str, library_version: str
    ) -> None:
        super().__init__(held, times)
        self.made_by = {"device": device, "precision": precision, "library_version": library_version}
        self.pictures: list[PreferredPicture] = []
        self._given = 0  # so many of them were given to the threads that encode and store
        self._kept: list[tuple[list[int], Future[list[str]]]] = []  # indices of such a group's pictures, and their keys

    def add(self, committer: Committer, picture: PreferredPicture) -> None:
        """Take a picture, and begin to encode and store those that came together with it."""
        self.pictures.append(picture)
        if len(self.pictures) - self._given >= GROUP:
            drawn = self._drawn_since()
            self._kept.append((drawn, committer.keep_later(self, [self._png(i) for i in drawn])))

    def result(self, keep: Keep) -> Pictures:
        blobs, tiles = self._keep_rest(keep)
        for drawn, kept in self._kept:
            blobs |= dict(zip(drawn, kept.result(), strict=True))
        rows = [_row(picture, blobs.get(i), tiles.get(i), self.made_by) for i, picture in enumerate(self.pictures)]
        return Pictures(rows)

    def _keep_rest(self, keep: Keep) -> tuple[dict[int, str], dict[int, Tile]]:
        """Encode and store the last pictures and all sprite sheets; their keys, and where each picture is, by index."""
        rest, groups = self._drawn_since(), list(sheet_groups(self.pictures))
        keys = keep([*(self._png(i) for i in rest), *(self._sheet(group) for group in groups)])
        places = zip(groups, keys[len(rest) :], strict=True)
        tiles = {i: (key, place) for group, key in places for place, i in enumerate(group)}
        return dict(zip(rest, keys, strict=False)), tiles

    def _drawn_since(self) -> list[int]:
        """Indices of the pictures that were not given away yet, without those that there is nothing of."""
        first, self._given = self._given, len(self.pictures)
        return [i for i in range(first, self._given) if self.pictures[i].pixels is not None]

    def _png(self, i: int) -> Encode:
        pixels = self.pictures[i].pixels
        if pixels is None:
            raise ValueError(f"there is no picture {i} to encode")
        return partial(encode_png, pixels)

    def _sheet(self, group: Sequence[int]) -> Encode:
        return partial(sheet, [self.pictures[i].pixels for i in group])


def compute_pictures(
    runtime: Runtime, engine: Engine, held: HeldLease, lease: PreferredLease, times: StageTimes
) -> PictureParcel:
    """The preferred pictures that are missing."""
    made_by = {"device": engine.device_name, "precision": engine.precision, "library_version": runtime.version}
    parcel = PictureParcel(held, times, **made_by)
    pictures = engine.preferred_pictures(
        lease.layer,
        lease.recipe,
        lease.addresses,
        batch_size=runtime.settings.batch_size,
        on_progress=held.progress,
    )
    for picture in pictures:
        parcel.add(runtime.committer, picture)
    return parcel


def sheet_groups(pictures: Sequence[PreferredPicture]) -> Iterator[list[int]]:
    """Indices of the pictures on each sprite sheet: of one seed, by unit, at most SHEET_TILES; none without pixels."""
    for seed in sorted({picture.seed for picture in pictures}):
        shown = [i for i, picture in enumerate(pictures) if picture.seed == seed and picture.pixels is not None]
        shown.sort(key=lambda i: pictures[i].unit)
        yield from (shown[start : start + SHEET_TILES] for start in range(0, len(shown), SHEET_TILES))


def _row(picture: PreferredPicture, blob: str | None, tile: Tile | None, made_by: dict[str, str]) -> PictureRow:
    sheet_key, place = tile or (None, None)
    return PictureRow(
        unit=picture.unit,
        seed=picture.seed,
        state=picture.state,
        blob=blob,
        sheet=sheet_key,
        sheet_index=place,
        width=picture.width,
        height=picture.height,
        activation=picture.activation,
        best_step=picture.best_step,
        strongest_step=picture.strongest_step,
        seconds=picture.seconds,
        **made_by,
    )
