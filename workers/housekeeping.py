"""The thread that does what somebody must do for all workers: messages for shards that wait, an end to lost leases.

Every worker can do all of it, and takes turns with the others (`db.chores`), so nothing needs a scheduler and nothing
is missed when a worker dies. It may wait for the broker or for somebody's lock; the heartbeat, which is another thread,
goes on.
"""

import logging
import threading
import time
from collections import Counter

from celery import Celery
from sqlalchemy.orm import Session

from broker import messages
from core.errors import NotReady
from core.settings import Settings
from core.specs import DeviceKind
from db import activations, chores, dispatch, forgetting, networks, planning, searches, workers
from workers.ledger import LOCK_SECONDS, Ledger
from workers.troubles import Troubles

log = logging.getLogger(__name__)

QUEUE_SECONDS = 5.0
"""Time between two looks at how long a queue in the broker is."""
LOOK_SECONDS = 0.1
"""For each other live worker, so long a worker waits between two looks for work to dispatch."""
PURGE_SECONDS = 1.0
"""So long at a time a worker deletes what is left of probe sets: messages are waiting, too."""
MOST_QUEUED = 3
"""A queue that holds this many times the messages that its workers want gets no more: they are slow, not lost."""


class Housekeeper(threading.Thread):
    """Does the chores that are given to it, and dispatches whenever it is woken."""

    def __init__(self, settings: Settings, ledger: Ledger, celery: Celery, kind: DeviceKind) -> None:
        super().__init__(name="housekeeper", daemon=True)
        self._settings = settings
        self._ledger = ledger
        self._sessions = ledger.sessions
        self._celery = celery
        self._kind = kind
        self._troubles = Troubles()
        self._woken = threading.Event()
        self._woken.set()  # one more worker: there is room for its messages
        self._over = threading.Event()
        self._looked_at, self._others = 0.0, 0  # when this worker last looked for room; how many live beside it
        self._due: set[str] = set()
        self._queued: Counter[DeviceKind] = Counter()  # messages in the broker, when it was last asked
        self._asked_at: dict[DeviceKind, float] = {}
        self._lock = threading.Lock()

    def wake(self) -> None:
        """Dispatch waiting shards now: there may be some, or room for some."""
        self._woken.set()

    def give(self, due: set[str]) -> None:
        """Do these chores, which this worker has claimed."""
        if due:
            with self._lock:
                self._due |= due
            self.wake()

    def stop(self) -> None:
        """End the thread."""
        self._over.set()
        self._woken.set()
        self.join(self._settings.heartbeat_seconds + 5)

    def run(self) -> None:
        while self._woken.wait() and not self._over.wait(self._pause()):
            self._woken.clear()
            with self._lock:
                due, self._due = self._due, set()
            if chores.REAP in due:
                self._troubles.attempt("reaping", self._reap)
            if chores.FORGET in due:
                self._troubles.attempt("forgetting", self._forget)
            if chores.PURGE in due:
                self._troubles.attempt("deleting probe sets", self._purge)
            if chores.CONTROL in due:
                self._troubles.attempt("asking again", self._resend_control)
            self._troubles.attempt("dispatch", self._dispatch)

    def _pause(self) -> float:
        """Seconds until this worker may look again: all of them together look some ten times a second.

        Each has two messages ahead, and whoever looks next sends for all.
        """
        with self._lock:
            return 0.0 if self._due else max(0.0, self._looked_at + LOOK_SECONDS * self._others - time.monotonic())

    # --- the turns ---------------------------------------------------------------

    def _reap(self) -> None:
        for atlas_id, lost in self._ledger.reap().items():
            shards, workers = ", ".join(map(str, lost)), ", ".join(sorted(set(lost.values())))
            said = "atlas %s: leases ran out, to be done again: shards %s of lost workers %s"
            log.warning(said, atlas_id, shards, workers, extra={"atlas": atlas_id})

    def _forget(self) -> None:
        with self._sessions.begin() as session:
            workers.forget(session)
            searches.forget(session)

    def _purge(self) -> None:
        """Delete what is left of deleted probe sets, for a moment; the next turn goes on."""
        until = time.monotonic() + PURGE_SECONDS
        while time.monotonic() < until and not self._over.is_set():
            with self._sessions() as session:  # only a look: most of the time there is nothing, and nothing to lock
                if not forgetting.is_something_left(session):
                    return
            with self._sessions.begin(lock_seconds=LOCK_SECONDS) as session:
                forgetting.forget_deleted(session)

    def _resend_control(self) -> None:
        """Ask again for plans, descriptions, searches and activations whose message or worker got lost."""
        with self._sessions() as session:
            live = self._live(session)
        with self._sessions.begin(lock_seconds=LOCK_SECONDS) as session:
            unplanned = planning.take_unplanned(session, live)
        for atlas_id, kind in unplanned:
            log.info("atlas %s: asked for its plan again", atlas_id)
            messages.send_plan(self._celery, atlas_id, kind)
        with self._sessions.begin(lock_seconds=LOCK_SECONDS) as session:
            undescribed = networks.take_undescribed(session)
        for name in undescribed:
            log.info("network %s: asked for its description again", name)
            messages.send_describe(self._celery, name)
        with self._sessions.begin(lock_seconds=LOCK_SECONDS) as session:
            unanswered = searches.take_unanswered(session)
        for search_id in unanswered:
            log.info("search %s: asked for again", search_id)
            messages.send_search(self._celery, search_id)
        self._resend_activations()

    def _resend_activations(self) -> None:
        with self._sessions.begin(lock_seconds=LOCK_SECONDS) as session:
            unanswered = activations.take_unanswered(session)
        for job_id, kind in unanswered:
            log.info("activations %s: asked for again", job_id)
            messages.send_activations(self._celery, job_id, kind)

    def _dispatch(self) -> None:
        """Keep a few messages for every live worker in the broker, whatever the number of shards that wait."""
        stale = self._stale_seconds
        with self._sessions() as session:  # only a look: most of the time there is no room
            live = self._live(session)
            room = dispatch.room(session, live, stale_seconds=stale)
        self._looked_at, self._others = time.monotonic(), live.total() - 1
        kinds = {kind for kind, _ in room if self._has_room(kind, live)}
        if not kinds:
            return
        with self._sessions.begin(lock_seconds=LOCK_SECONDS) as session:
            chosen = dispatch.take_for_dispatch(session, live, kinds, stale_seconds=stale)
        self._send(chosen)

    def _send(self, chosen: list[dispatch.Dispatch]) -> None:
        for number, each in enumerate(chosen):
            try:
                messages.send_shard(self._celery, each.shard_id, each.device_kind, each.priority)
            except NotReady:
                with self._sessions.begin() as session:
                    dispatch.withdraw(session, chosen[number:])
                raise

    def _has_room(self, kind: DeviceKind, live: Counter[DeviceKind]) -> bool:
        """Whether the queue holds few enough: messages that count as lost may be there, behind work that takes long."""
        now = time.monotonic()
        if now - self._asked_at.get(kind, -QUEUE_SECONDS) >= QUEUE_SECONDS:
            self._asked_at[kind] = now
            self._queued[kind] = messages.waiting(self._celery, kind)
        return self._queued[kind] < MOST_QUEUED * dispatch.wanted(live, kind)

    def _live(self, session: Session) -> Counter[DeviceKind]:
        """The workers that live; this one does, whether or not its first beat has been written."""
        found = workers.live(session, self._settings.alive_seconds)
        return found if found[self._kind] else found + Counter({self._kind: 1})

    @property
    def _stale_seconds(self) -> float:
        """A message on its way for so long may be lost, and is sent again."""
        return max(self._settings.lease_seconds, 6 * self._settings.shard_seconds)
