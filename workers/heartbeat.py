"""The thread that keeps this worker's promises: it lives, its leases hold, and work that waits has a message.

Every worker does all of it, so nothing needs a scheduler of its own and none is missed when a worker dies. Errors of
the database or the broker cost a line of log when they begin and one when they end; the next turn tries again.
"""

import logging
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from celery import Celery
from sqlalchemy.orm import Session

from broker import messages
from core.errors import NotReady
from core.settings import Settings
from core.specs import DeviceKind
from db import chores, dispatch, networks, planning, workers
from db.planning import PlanLease
from db.workers import WorkerBeat
from workers.held import HeldLease, HeldLeases
from workers.ledger import Ledger
from workers.reasons import first_line

log = logging.getLogger(__name__)

Say = Callable[[], WorkerBeat]
"""What the worker says about itself now."""


@dataclass
class HeldPlan:
    """The atlas that this worker plans."""

    lease: PlanLease
    until: float  # `time.monotonic()`; not renewed after that
    lost: bool = False  # somebody else plans it, or it was given up


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
        self._woken.set()  # one more worker: there is room for its messages
        self._over = threading.Event()
        self._plan: HeldPlan | None = None  # of the atlas that this worker plans
        self._failing: dict[str, float] = {}  # what does not work now, and since when

    def wake(self) -> None:
        """Dispatch waiting shards now: there may be some, or room for some."""
        self._woken.set()

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
        self._woken.set()
        self.join(self._settings.heartbeat_seconds + 5)
        self._try("saying goodbye", self._goodbye)

    def run(self) -> None:
        beat_at = 0.0
        while not self._over.is_set():
            if time.monotonic() >= beat_at:
                beat_at = time.monotonic() + self._settings.heartbeat_seconds
                self._try("heartbeat", self._beat)
            if self._woken.wait(max(beat_at - time.monotonic(), 0)):
                self._woken.clear()
                self._try("dispatch", self._dispatch)

    def _try(self, what: str, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:
            # One line when it begins and one when it ends: an outage may last for hours.
            level = logging.DEBUG if what in self._failing else logging.WARNING
            self._failing.setdefault(what, time.monotonic())
            log.log(level, "%s did not work, trying again soon: %s", what, first_line(error))
            log.debug("%s", what, exc_info=error)
        else:
            if (since := self._failing.pop(what, None)) is not None:
                log.info("%s works again after %.0f s", what, time.monotonic() - since)

    # --- the turns ---------------------------------------------------------------

    def _beat(self) -> None:
        """One transaction: many workers beat, and each costs the database a little."""
        for held in self._held.all():
            if held.stalled(self._settings.stall_seconds):
                self._end_stalled(held)
        fractions = self._held.fractions()
        with self._sessions.begin() as session:
            renewed = self._ledger.renew(session, fractions) if fractions else set()
            self._renew_plan(session)
            workers.beat(session, self._news())
            due = chores.claim(session, self._chores)
        self._held.keep(set(fractions), renewed)
        if chores.LOOK in due:
            self.wake()
        if chores.REAP in due:
            self._try("reaping", self._reap)
        if chores.CONTROL in due:
            self._try("asking again", self._resend_control)

    def _news(self) -> WorkerBeat:
        said, plan = self._say(), self._plan
        return said if plan is None else replace(said, activity=f"planning atlas {plan.lease.atlas_id}")

    @property
    def _chores(self) -> dict[str, float]:
        """What one worker does for all, and how often."""
        return dict.fromkeys((chores.LOOK, chores.REAP, chores.CONTROL), self._settings.heartbeat_seconds)

    def _goodbye(self) -> None:
        with self._sessions.begin() as session:
            workers.stop(session, self._ledger.worker_id)

    def _renew_plan(self, session: Session) -> None:
        plan = self._plan
        if plan is not None and time.monotonic() < plan.until:
            plan.lost = not planning.renew_planning(session, plan.lease, self._settings.lease_seconds)

    def _reap(self) -> None:
        if waiting := self._ledger.reap():
            log.warning("leases ran out, to be done again: shards %s", ", ".join(map(str, waiting)))

    def _resend_control(self) -> None:
        """Ask again for plans and descriptions whose message or planner got lost."""
        with self._sessions.begin() as session:
            unplanned = planning.take_unplanned(session)
        for atlas_id, kind in unplanned:
            log.info("atlas %s: asked for its plan again", atlas_id)
            messages.send_plan(self._celery, atlas_id, kind)
        with self._sessions.begin() as session:
            undescribed = networks.take_undescribed(session)
        for name in undescribed:
            log.info("network %s: asked for its description again", name)
            messages.send_describe(self._celery, name)

    def _dispatch(self) -> None:
        """Keep a few messages for every live worker in the broker, whatever the number of shards that wait."""
        stale = self._stale_seconds
        with self._sessions() as session:  # only a look: most of the time there is no room
            live = self._live(session)
            if not dispatch.room(session, live, stale_seconds=stale):
                return
        with self._sessions.begin() as session:
            chosen = dispatch.take_for_dispatch(session, live, stale_seconds=stale)
        for number, each in enumerate(chosen):
            try:
                messages.send_shard(self._celery, each.shard_id, each.device_kind, each.priority)
            except NotReady:
                with self._sessions.begin() as session:
                    dispatch.withdraw(session, [unsent.shard_id for unsent in chosen[number:]])
                raise

    def _live(self, session: Session) -> Counter[DeviceKind]:
        """The workers that live; this one does, whether or not its first beat has been written."""
        found = workers.live(session, self._settings.alive_seconds)
        return found or Counter({self._say().device_kind: 1})

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
