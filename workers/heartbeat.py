"""The thread that keeps this worker's promises: it lives, its leases hold, and work that waits has a message.

Every worker does all of it, so nothing needs a scheduler of its own and none is missed when a worker dies. Errors of
the database or the broker cost one line of log and one turn; the next turn tries again.
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from celery import Celery

from broker import messages
from core.errors import NotReady
from core.settings import Settings
from db import atlases, dispatch, networks, workers
from db.planning import renew_planning
from db.workers import WorkerBeat
from workers.held import HeldLease, HeldLeases
from workers.ledger import Ledger
from workers.reasons import first_line

log = logging.getLogger(__name__)

AHEAD = 2
"""Messages in the broker for every live worker: one that is next, and one more for whoever is quicker."""
SPARE_MESSAGES = 2

Say = Callable[[], WorkerBeat]
"""What the worker says about itself now."""


class Heartbeat(threading.Thread):
    """Beats every `settings.heartbeat_seconds`; `wake` lets it look for work to dispatch at once."""

    def __init__(self, settings: Settings, ledger: Ledger, celery: Celery, held: HeldLeases, say: Say) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self._settings = settings
        self._ledger = ledger
        self._sessions = ledger.sessions
        self._celery = celery
        self._held = held
        self._say = say
        self._woken = threading.Event()
        self._over = threading.Event()
        self._plan: tuple[str, float] | None = None  # atlas that this worker plans; until when it may take

    def wake(self) -> None:
        """Dispatch waiting shards now: there may be some, or room for some."""
        self._woken.set()

    @contextmanager
    def planning(self, atlas_id: str) -> Iterator[None]:
        """Keep this worker the atlas's planner while the block runs, at most `settings.stall_seconds`."""
        self._plan = (atlas_id, time.monotonic() + self._settings.stall_seconds)
        try:
            yield
        finally:
            self._plan = None

    def stop(self) -> None:
        """End the thread and say that the worker has stopped."""
        self._over.set()
        self._woken.set()
        self.join(self._settings.heartbeat_seconds + 5)
        self._try("saying goodbye", self._goodbye)

    def run(self) -> None:
        beat_at = 0.0
        while not self._over.is_set():
            if time.monotonic() >= beat_at:
                beat_at = time.monotonic() + self._settings.heartbeat_seconds
                for what in (self._beat, self._renew, self._renew_plan, self._reap, self._resend_control):
                    self._try(what.__name__.strip("_"), what)
            self._try("dispatch", self._dispatch)
            self._woken.wait(max(beat_at - time.monotonic(), 0))
            self._woken.clear()

    def _try(self, what: str, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:
            log.warning("%s did not work, trying again soon: %s", what, first_line(error))
            log.debug("%s", what, exc_info=error)

    # --- the turns ---------------------------------------------------------------

    def _beat(self) -> None:
        with self._sessions.begin() as session:
            workers.beat(session, self._say())

    def _goodbye(self) -> None:
        with self._sessions.begin() as session:
            workers.stop(session, self._ledger.worker_id)

    def _renew(self) -> None:
        for held in self._held.all():
            if held.stalled(self._settings.stall_seconds):
                self._end_stalled(held)
        fractions = self._held.fractions()
        if not fractions:
            return
        self._held.keep(set(fractions), self._ledger.renew(fractions))

    def _renew_plan(self) -> None:
        plan = self._plan
        if plan is not None and time.monotonic() < plan[1]:
            with self._sessions.begin() as session:
                renew_planning(session, plan[0], self._settings.lease_seconds)

    def _reap(self) -> None:
        if waiting := self._ledger.reap():
            log.warning("leases ran out, to be done again: shards %s", ", ".join(map(str, waiting)))

    def _resend_control(self) -> None:
        """Ask again for plans and descriptions whose message or planner got lost."""
        with self._sessions.begin() as session:
            unplanned = atlases.take_unplanned(session)
        for atlas_id in unplanned:
            messages.send_plan(self._celery, atlas_id)
        with self._sessions.begin() as session:
            undescribed = networks.take_undescribed(session)
        for name in undescribed:
            messages.send_describe(self._celery, name)

    def _dispatch(self) -> None:
        """Keep a few messages for every live worker in the broker, whatever the number of shards that wait."""
        stale = self._stale_seconds
        with self._sessions() as session:
            live = workers.live(session, 3 * self._settings.heartbeat_seconds + 5)
            room = AHEAD * max(live, 1) + SPARE_MESSAGES - dispatch.outstanding(session, stale_seconds=stale)
        if room <= 0:
            return
        with self._sessions.begin() as session:
            shards = dispatch.take_for_dispatch(session, limit=room, stale_seconds=stale)
        for number, shard_id in enumerate(shards):
            try:
                messages.send_shard(self._celery, shard_id)
            except NotReady:
                with self._sessions.begin() as session:
                    dispatch.withdraw(session, shards[number:])
                raise

    @property
    def _stale_seconds(self) -> float:
        """A message on its way for so long is taken as lost: a full queue is emptied several times in that time."""
        return max(self._settings.lease_seconds, 6 * self._settings.shard_seconds)

    def _end_stalled(self, held: HeldLease) -> None:
        """End this process: its computing thread hangs where nothing can be raised. The parent makes a new one."""
        reason = f"It showed no progress for {self._settings.stall_seconds:g} s."
        log.critical("shard %s: %s Ending the process.", held.lease.shard_id, reason)
        self._try("noting that", lambda: self._ledger.fail_attempt(held.lease, reason))
        os.kill(os.getpid(), signal.SIGKILL)
