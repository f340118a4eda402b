"""The thread that keeps this worker's promises: it lives, and its leases hold.

It waits for nothing but the database, and not for long; what may take longer is another thread's
(`workers.housekeeping`).
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from sqlalchemy.orm import Session

from core.settings import Settings
from db import chores, leases, planning, workers
from db.planning import PlanLease
from db.workers import WorkerBeat
from workers.held import HeldLease, HeldLeases
from workers.ledger import LOCK_SECONDS, Ledger
from workers.troubles import Troubles

log = logging.getLogger(__name__)

STEADY_BEATS = 2
"""Only who has beaten so often in a row ends the leases of others: after an outage they need a moment to renew."""

FORGET_SECONDS = 3600.0
"""Time between two looks for workers that ended long ago."""

Say = Callable[[], WorkerBeat]
"""What the worker says about itself now."""
Give = Callable[[set[str]], None]
"""Takes the chores that this worker has claimed."""


@dataclass
class HeldPlan:
    """The atlas that this worker plans."""

    lease: PlanLease
    until: float  # `time.monotonic()`; not renewed after that
    lost: bool = False  # somebody else plans it, or it was given up


class Heartbeat(threading.Thread):
    """Beats every `settings.heartbeat_seconds`."""

    def __init__(self, settings: Settings, ledger: Ledger, held: HeldLeases, say: Say, give: Give) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self._settings = settings
        self._ledger = ledger
        self._held = held
        self._say = say
        self._give = give
        self._over = threading.Event()
        self._plan: HeldPlan | None = None  # of the atlas that this worker plans
        self._steady = 0  # beats in a row that worked
        self._troubles = Troubles()

    @contextmanager
    def planning(self, lease: PlanLease) -> Iterator[HeldPlan]:
        """Keep this worker the atlas's planner while the block runs, at most `settings.stall_seconds`."""
        self._plan = HeldPlan(lease, time.monotonic() + self._settings.stall_seconds)
        try:
            yield self._plan
        finally:
            self._plan = None

    def stop(self) -> None:
        """End the thread and say that the worker has stopped."""
        self._over.set()
        self.join(self._settings.heartbeat_seconds + 5)
        self._troubles.attempt("saying goodbye", self._goodbye)

    def run(self) -> None:
        while not self._over.is_set():
            next_beat = time.monotonic() + self._settings.heartbeat_seconds
            worked = self._troubles.attempt("heartbeat", self._beat)
            self._steady = self._steady + 1 if worked else 0
            self._over.wait(max(next_beat - time.monotonic(), 0))

    def _beat(self) -> None:
        """One transaction, its locks in the order of `db.completion`: many workers beat, and each costs a little."""
        for held in self._held.all():
            if held.stalled(self._settings.stall_seconds):
                self._end_stalled(held)
        fractions = self._held.fractions()
        with self._ledger.sessions.begin(lock_seconds=LOCK_SECONDS) as session:
            self._renew_plan(session)
            renewed = self._ledger.renew(session, fractions) if fractions else set()
            workers.beat(session, self._news())
            due = chores.claim(session, self._chores)
        self._held.keep(set(fractions), renewed)
        self._give(due)

    @property
    def _chores(self) -> dict[str, float]:
        """What one worker does for all, and how often."""
        names = {chores.LOOK, chores.CONTROL, chores.PURGE} | ({chores.REAP} if self._steady >= STEADY_BEATS else set())
        return {**dict.fromkeys(names, self._settings.heartbeat_seconds), chores.FORGET: FORGET_SECONDS}

    def _news(self) -> WorkerBeat:
        said, plan = self._say(), self._plan
        return said if plan is None else replace(said, activity=f"planning atlas {plan.lease.atlas_id}")

    def _goodbye(self) -> None:
        with self._ledger.sessions.begin() as session:
            workers.stop(session, self._ledger.worker_id)

    def _renew_plan(self, session: Session) -> None:
        plan = self._plan
        if plan is not None and time.monotonic() < plan.until:
            plan.lost = not planning.renew_planning(session, plan.lease, self._settings.lease_seconds)

    def _end_stalled(self, held: HeldLease) -> None:
        """End this process: its computing thread hangs where nothing can be raised. The parent makes a new one."""
        reason = f"It showed no progress for {self._settings.stall_seconds:g} s."
        log.critical("shard %s: %s Ending the process.", held.lease.shard_id, reason)
        self._troubles.attempt("noting that", lambda: self._note_stalled(held, reason))
        os.kill(os.getpid(), signal.SIGKILL)

    def _note_stalled(self, held: HeldLease, reason: str) -> None:
        """Once and not patiently: what hangs may hold the very rows, and a lease that is not renewed runs out."""
        with self._ledger.sessions.begin(lock_seconds=LOCK_SECONDS) as session:
            leases.fail_attempt(session, held.lease, reason, self._settings.max_attempts)
