"""The leases this worker holds: renewed by the heartbeat thread, looked at by the computing one."""

import logging
import threading
import time
from collections.abc import Collection

from core.errors import Cancelled, LostLease
from db.work import Lease
from workers.stopping import StopFlag

log = logging.getLogger(__name__)


class HeldLease:
    """One lease from the moment it is taken until its shard is committed or given up."""

    def __init__(self, lease: Lease, stop: StopFlag) -> None:
        self.lease = lease
        self.fraction = 0.0  # of the computing that is over
        self.lost = False  # the heartbeat learnt that it is somebody else's, or cancelled
        self.computing = True  # see `end_computing`
        self._stop = stop
        self._started = self._progressed = time.monotonic()

    def progress(self, fraction: float) -> None:
        """Take note of how far the computing is; the engine calls this every few steps.

        Raises:
            LostLease: the shard was cancelled, or leased to somebody else.
            Cancelled: the worker is stopping, and the rest would take too long.
        """
        self.fraction = fraction
        self.note_progress()
        if self.lost:
            raise LostLease("The shard was cancelled or leased to another worker.")
        if not self._stop.leaves_time_for(self._seconds_left()):
            raise Cancelled("The worker is stopping.")

    def end_computing(self) -> None:
        """Only the commit is left."""
        self.computing = False
        self.note_progress()

    def note_progress(self) -> None:
        """Something of the shard has just been done."""
        self._progressed = time.monotonic()

    def _seconds_left(self) -> float:
        spent = time.monotonic() - self._started
        return spent * (1 - self.fraction) / self.fraction if self.fraction > 0 else float("inf")

    def stalled(self, seconds: float) -> bool:
        """Whether the computing or the commit has shown no progress for so long."""
        return time.monotonic() - self._progressed > seconds


class HeldLeases:
    """Every lease this worker holds, by token. Safe to use from several threads."""

    def __init__(self, stop: StopFlag) -> None:
        self._stop = stop
        self._held: dict[str, HeldLease] = {}
        self._lock = threading.Lock()

    def add(self, lease: Lease) -> HeldLease:
        held = HeldLease(lease, self._stop)
        with self._lock:
            self._held[lease.token] = held
        return held

    def remove(self, lease: Lease) -> None:
        with self._lock:
            self._held.pop(lease.token, None)

    def all(self) -> list[HeldLease]:
        with self._lock:
            return list(self._held.values())

    def fractions(self) -> dict[str, float]:
        """How far each shard's computing is, by token."""
        return {held.lease.token: held.fraction for held in self.all()}

    def keep(self, asked: Collection[str], renewed: Collection[str]) -> None:
        """Mark as lost what was `asked` to be renewed and was not; a commit that is left finds out itself."""
        for held in self.all():
            if held.lease.token in asked and held.lease.token not in renewed and held.computing and not held.lost:
                held.lost = True
                log.info("shard %s: no longer ours (cancelled, or the lease ran out)", held.lease.shard_id)
