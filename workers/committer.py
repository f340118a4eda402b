"""From what was computed to the truth, behind the device's back: encode, store, then one commit for the whole shard.

While the next shard computes, the last one's pictures are encoded and stored by a few threads, and one more commits.
At most one finished shard waits: `finish` holds the computing up when committing is slower than it.
"""

import logging
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Semaphore

from core.errors import LostLease
from core.logs import carried
from db.outages import is_outage
from db.results import Result
from db.work import Lease
from store import PictureStore
from store.usable import check_writable
from workers.held import HeldLease, HeldLeases
from workers.ledger import Ledger
from workers.metrics import WorkerMetrics
from workers.reasons import explain, first_line, is_final, is_setback, report
from workers.stages import StageTimes

log = logging.getLogger(__name__)

MOST_ENCODERS = 4
WAIT_SECONDS = 1.0
"""Between notes that a finished shard waits for its turn; less than any `stall_seconds`."""

Encode = Callable[[], bytes]
Keep = Callable[[Sequence[Encode]], list[str]]
"""Encodes some things and stores them together, as the disk takes many for little more than one; their keys."""


class Parcel(ABC):
    """What was computed of a shard, on its way."""

    def __init__(self, held: HeldLease, times: StageTimes) -> None:
        self.held = held
        self.times = times
        self.started = time.monotonic()

    @property
    def lease(self) -> Lease:
        return self.held.lease

    @abstractmethod
    def result(self, keep: Keep) -> Result:
        """What is to be committed, once all that belongs to it is stored; called in the committing thread."""


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

    def keep_later(self, parcel: Parcel, encodes: Sequence[Encode]) -> Future[list[str]]:
        """Begin to encode and store some things of the parcel; their keys."""
        return self._encoders.submit(carried(self._keep), parcel, encodes)

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
            result = parcel.result(lambda encodes: self._keep(parcel, encodes))
            with parcel.times.stage("commit"):
                self._ledger.commit(parcel.lease, result)
            self._metrics.done(parcel.times, result.images)
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

    def _keep(self, parcel: Parcel, encodes: Sequence[Encode]) -> list[str]:
        with parcel.times.stage("encode"):
            encoded = [encode() for encode in encodes]
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
                said = f"What was computed could not be committed: {explain(error)}"
                self._ledger.fail_attempt(lease, said, final=is_final(error))
        except Exception as untold:
            why = first_line(untold)
            log.error("shard %s: its lease will run out, as that cannot be noted: %s", lease.shard_id, why)


def _say_committed(parcel: Parcel) -> None:
    seconds = time.monotonic() - parcel.started
    stages = {name: round(spent, 3) for name, spent in parcel.times.seconds().items()}
    extra = {"seconds": round(seconds, 3), "stages": stages}
    log.info("%s committed after %.1f s", describe_work(parcel.lease), seconds, extra=extra)


def describe_work(lease: Lease) -> str:
    """For the log: the shard and its work."""
    return f"shard {lease.shard_id} ({lease.what})"


def ids(lease: Lease) -> dict[str, str | int]:
    """For every line of the log that is about this lease."""
    return {"atlas": lease.atlas_id, "shard": lease.shard_id, "attempt": lease.attempt, **lease.about}
