"""From pictures to the truth, behind the device's back: encode, store, then one commit for the whole shard.

While the next shard computes, the last one's pictures are encoded and stored by a few threads, and one more commits.
At most one finished shard waits: `finish` holds the computing up when committing is slower than it.
"""

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Semaphore

from core.errors import LostLease
from core.logs import carried
from core.specs import SHEET_TILES
from db.leases import Lease, PictureRow
from db.outages import is_outage
from deepvis.pictures import Pixels, encode_png, sheet
from deepvis.preferred import PreferredPicture
from store import PictureStore
from store.probe import check_writable
from workers.held import HeldLease, HeldLeases
from workers.ledger import Ledger
from workers.metrics import WorkerMetrics
from workers.reasons import explain, first_line, is_setback, report
from workers.stages import StageTimes

log = logging.getLogger(__name__)

MOST_ENCODERS = 4
GROUP = 16
"""Pictures that a thread encodes and stores at once: waking it, and the disk, costs more than one of them."""
WAIT_SECONDS = 1.0
"""Between notes that a finished shard waits for its turn; less than any `stall_seconds`."""

Tile = tuple[str, int]
"""Key of a sprite sheet in the store, and a place on it."""


class Parcel:
    """A shard's pictures on their way; how they were made is the same for all of them."""

    def __init__(
        self, held: HeldLease, times: StageTimes, *, device: str, precision: str, library_version: str
    ) -> None:
        self.held = held
        self.times = times
        self.made_by = {"device": device, "precision": precision, "library_version": library_version}
        self.pictures: list[PreferredPicture] = []
        self.given = 0  # so many of them were given to the threads that encode and store
        self.blobs: list[Future[dict[int, str]]] = []  # of each such group: by a picture's index, its key in the store
        self.started = time.monotonic()

    @property
    def lease(self) -> Lease:
        return self.held.lease


class Committer:
    """Encodes, stores and commits parcels in the background.

    Args:
        metrics: are told how every parcel ended.
        on_end: called after every parcel, committed or not.
    """

    def __init__(
        self,
        ledger: Ledger,
        store: PictureStore,
        held: HeldLeases,
        metrics: WorkerMetrics,
        on_end: Callable[[], None],
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._held = held
        self._metrics = metrics
        self._on_end = on_end
        self._encoders = ThreadPoolExecutor(min(MOST_ENCODERS, os.cpu_count() or 1), "encode")
        self._commits = ThreadPoolExecutor(1, "commit")
        self._room = Semaphore(1)
        self._store_failed = False  # the last time that something was to be stored

    def check_store(self) -> None:
        """Before computing anything more, after the store has failed: see whether it still does.

        Raises:
            StoreUnavailable, BadSetting: it does.
        """
        if self._store_failed:
            check_writable(self._store)
            self._store_failed = False

    def add(self, parcel: Parcel, picture: PreferredPicture) -> None:
        """Take a picture, and begin to encode and store those that came together with it."""
        parcel.pictures.append(picture)
        first, last = parcel.given, len(parcel.pictures)
        if last - first >= GROUP:
            parcel.given = last
            parcel.blobs.append(self._encoders.submit(carried(self._keep_group), parcel, range(first, last)))

    def finish(self, parcel: Parcel) -> None:
        """Commit a complete parcel in the background; waits while the parcel before it is not committed."""
        while not self._room.acquire(timeout=WAIT_SECONDS):
            parcel.held.note_progress()  # it is not at fault: whether its turn comes is judged by the one before it
        self._commits.submit(carried(self._settle), parcel)

    def close(self) -> None:
        """Wait until everything that is finished is committed."""
        self._commits.shutdown(wait=True)
        self._encoders.shutdown(wait=True, cancel_futures=True)

    def _settle(self, parcel: Parcel) -> None:
        parcel.held.note_progress()  # it may have waited for the parcel before it
        try:
            rows = self._rows(parcel)
            with parcel.times.stage("commit"):
                self._ledger.commit(parcel.lease, rows)
            self._metrics.done(parcel.times, len(rows))
            _say_committed(parcel)
        except LostLease as lost:
            self._metrics.lost()
            log.info("%s", lost)
        except Exception as error:
            self._note(parcel.lease, error)
        finally:
            self._held.remove(parcel.lease)
            self._room.release()
            self._on_end()

    def _keep_group(self, parcel: Parcel, numbers: range) -> dict[int, str]:
        """Encode and store these pictures of the parcel; the keys of those that there is something of."""
        pixels = _pixels(parcel, numbers)
        with parcel.times.stage("encode"):
            encoded = [encode_png(each) for each in pixels.values()]
        return dict(zip(pixels, self._keep(parcel, encoded), strict=True))

    def _keep(self, parcel: Parcel, encoded: Sequence[bytes]) -> list[str]:
        parcel.held.note_progress()
        with parcel.times.stage("store"):
            keys = self._store.put_all(encoded)
        parcel.held.note_progress()
        return keys

    def _note(self, lease: Lease, error: Exception) -> None:
        """Say why nothing was committed: to the database if that can be told."""
        self._metrics.failed(error, set_back=is_setback(error) or is_outage(error))
        try:
            if is_outage(error):
                log.warning("%s is left to run out: %s", describe_work(lease), first_line(error))
            elif is_setback(error):
                self._store_failed = True
                log.warning("%s set back: %s", describe_work(lease), first_line(error))
                self._ledger.set_back(lease, explain(error))
            else:
                report(f"{describe_work(lease)} cannot be committed", error)
                self._ledger.fail_attempt(lease, f"Its pictures could not be committed: {explain(error)}")
        except Exception as untold:
            why = first_line(untold)
            log.error("shard %s: its lease will run out, as that cannot be noted: %s", lease.shard_id, why)

    def _rows(self, parcel: Parcel) -> list[PictureRow]:
        blobs, tiles = self._keep_rest(parcel)
        for group in parcel.blobs:
            blobs |= group.result()
        return [_row(picture, blobs.get(i), tiles.get(i), parcel.made_by) for i, picture in enumerate(parcel.pictures)]

    def _keep_rest(self, parcel: Parcel) -> tuple[dict[int, str], dict[int, Tile]]:
        """Encode and store the last pictures and all sprite sheets; their keys, and where each picture is, by index."""
        rest = _pixels(parcel, range(parcel.given, len(parcel.pictures)))
        groups = list(sheet_groups(parcel.pictures))
        with parcel.times.stage("encode"):
            sheets = [sheet([parcel.pictures[i].pixels for i in group]) for group in groups]
            encoded = [encode_png(pixels) for pixels in rest.values()]
        keys = self._keep(parcel, sheets + encoded)
        placed = zip(keys, groups, strict=False)
        tiles = {i: (key, place) for key, group in placed for place, i in enumerate(group)}
        return dict(zip(rest, keys[len(sheets) :], strict=True)), tiles


def _pixels(parcel: Parcel, numbers: range) -> dict[int, Pixels]:
    """What there is to be seen of these pictures of the parcel."""
    return {i: pixels for i in numbers if (pixels := parcel.pictures[i].pixels) is not None}


def _say_committed(parcel: Parcel) -> None:
    seconds = time.monotonic() - parcel.started
    stages = {name: round(spent, 3) for name, spent in parcel.times.seconds().items()}
    extra = {"seconds": round(seconds, 3), "stages": stages}
    log.info("%s committed after %.1f s", describe_work(parcel.lease), seconds, extra=extra)


def sheet_groups(pictures: Sequence[PreferredPicture]) -> Iterator[list[int]]:
    """Indices of the pictures on each sprite sheet: of one seed, by unit, at most SHEET_TILES; none without pixels."""
    for seed in sorted({picture.seed for picture in pictures}):
        shown = [i for i, picture in enumerate(pictures) if picture.seed == seed and picture.pixels is not None]
        shown.sort(key=lambda i: pictures[i].unit)
        yield from (shown[start : start + SHEET_TILES] for start in range(0, len(shown), SHEET_TILES))


def describe_work(lease: Lease) -> str:
    """For the log: the shard, its units and recipe."""
    if not lease.addresses:
        return f"shard {lease.shard_id} ({lease.layer.name}, nothing missing)"
    units = [unit for unit, _ in lease.addresses]
    what = f"{lease.network.name} {lease.layer.name}:{min(units)}-{max(units)} {lease.recipe.name}"
    return f"shard {lease.shard_id} ({what}, {len(lease.addresses)} images)"


def ids(lease: Lease) -> dict[str, str | int]:
    """For every line of the log that is about this lease."""
    units = [unit for unit, _ in lease.addresses]
    span = {"units": f"{min(units)}-{max(units)}"} if units else {}
    work = {"layer": lease.layer.name, "recipe": lease.recipe.name, **span}
    return {"atlas": lease.atlas_id, "shard": lease.shard_id, "attempt": lease.attempt, **work}


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
