"""Shards of preferred pictures: computed in batches, encoded while the device goes on."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future

from core.specs import SHEET_TILES
from db.results import PictureRow, Pictures
from db.work import PreferredLease
from deepvis.pictures import encode_png, sheet
from deepvis.preferred import PreferredPicture
from workers.committer import Committer, Keep, Parcel
from workers.engines import Engine
from workers.held import HeldLease
from workers.runtime import Runtime
from workers.stages import StageTimes

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
        self.blobs: list[Future[str] | None] = []  # of each picture, its key in the store; None where there is none

    def add(self, committer: Committer, picture: PreferredPicture) -> None:
        """Begin to encode and store a picture."""
        pixels = picture.pixels
        storing = None if pixels is None else committer.keep_later(self, lambda: encode_png(pixels))
        self.pictures.append(picture)
        self.blobs.append(storing)

    def result(self, keep: Keep) -> Pictures:
        tiles = self._store_sheets(keep)
        blobs = [future.result() if future else None for future in self.blobs]
        return Pictures(
            [
                _row(picture, blob, tiles.get(i), self.made_by)
                for i, (picture, blob) in enumerate(zip(self.pictures, blobs, strict=True))
            ]
        )

    def _store_sheets(self, keep: Keep) -> dict[int, Tile]:
        """Store sprite sheets of the pictures; where each picture (by index) is, if it has any pixels."""
        tiles: dict[int, Tile] = {}
        for group in sheet_groups(self.pictures):
            pixels = [self.pictures[i].pixels for i in group]
            key = keep(lambda pixels=pixels: sheet(pixels))  # type: ignore[misc]
            tiles.update((i, (key, place)) for place, i in enumerate(group))
        return tiles


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
