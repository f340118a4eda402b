"""This worker's side of the leases: each command of `db.leases` in a transaction of its own.

What must not be missed is said again while the database cannot be reached, for as long as a lease lasts: a restart of
PostgreSQL costs seconds and no attempt. A stopping worker has no longer than it was given. The commands may be said
twice; see there.
"""

import logging
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from core.settings import Settings
from core.specs import DeviceKind
from db import leases
from db.ids import new_token
from db.outages import is_clash, is_outage
from db.results import Result
from db.session import make_engine, make_sessions
from db.work import Lease
from workers.reasons import first_line
from workers.stopping import StopFlag

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
LOCK_SECONDS = 2.0
"""How long what is done for others waits for somebody's lock: they may be frozen, and this worker's own leases wait."""

Answer = TypeVar("Answer")


class Ledger:
    """The database as worker `worker_id` uses it. Opens no connection until it is used."""

    def __init__(
        self, settings: Settings, worker_id: str, device_kind: DeviceKind, stop: StopFlag | None = None
    ) -> None:
        self.worker_id = worker_id
        self._device_kind = device_kind
        self._settings = settings
        self._stop = stop or StopFlag()
        self._engine = make_engine(settings.resolved_database_url, pool_size=2)  # each of hundreds of workers
        self.sessions = make_sessions(self._engine)

    def close(self) -> None:
        self._engine.dispose()

    def patiently(self, what: str, act: Callable[[Session], Answer]) -> Answer:
        """The answer of `act` in a writing transaction; again for a lease time while the database cannot be reached.

        Raises:
            DBAPIError: it could not be reached for so long, or until the worker has to stop; or refuses `act`.
        """
        deadline = time.monotonic() + self._settings.lease_seconds
        while True:
            try:
                with self.sessions.begin() as session:
                    return act(session)
            except SQLAlchemyError as error:
                if not (is_outage(error) and self._may_wait(deadline)):
                    raise
                self._wait(what, error)

    def _may_wait(self, deadline: float) -> bool:
        return time.monotonic() <= deadline and self._stop.leaves_time_for(RETRY_SECONDS)

    def _wait(self, what: str, error: SQLAlchemyError) -> None:
        if is_clash(error):
            log.info("%s: undone by the database, again: %s", what, first_line(error))
            return
        log.warning("%s: the database cannot be reached, again: %s", what, first_line(error))
        time.sleep(RETRY_SECONDS)

    def lease(self, shard_id: int) -> Lease | None:
        """Lease a shard; None if there is nothing to do for it."""
        seconds, most = self._settings.lease_seconds, self._settings.max_attempts
        worker_id, kind, token = self.worker_id, self._device_kind, new_token()

        def act(session: Session) -> Lease | None:
            return leases.lease_shard(
                session, shard_id, worker_id, seconds, max_attempts=most, device_kind=kind, token=token
            )

        return self.patiently(f"leasing shard {shard_id}", act)

    def renew(self, session: Session, fractions: Mapping[str, float]) -> set[str]:
        """Extend the leases of these tokens; those still worth working for."""
        return leases.renew(session, self.worker_id, set(fractions), fractions, self._settings.lease_seconds)

    def commit(self, lease: Lease, result: Result) -> None:
        """Make the result true.

        Raises:
            LostLease: the shard is somebody else's, or given up.
        """
        self.patiently(f"committing shard {lease.shard_id}", lambda s: leases.commit_shard(s, lease, result))

    def release(self, lease: Lease) -> None:
        """Give a shard back unfinished: the attempt does not count."""
        self.patiently(f"giving back shard {lease.shard_id}", lambda s: leases.release(s, lease))

    def set_back(self, lease: Lease, reason: str) -> None:
        """Give a shard back because something around it does not work: it waits for a while, no attempt is counted."""
        seconds = self._settings.setback_seconds
        self.patiently(f"setting back shard {lease.shard_id}", lambda s: leases.set_back(s, lease, reason, seconds))

    def fail_attempt(self, lease: Lease, error: str, *, final: bool = False) -> None:
        """Note why an attempt at a shard failed; after a `final` one there are no others."""
        most = 1 if final else self._settings.max_attempts
        self.patiently(f"noting shard {lease.shard_id}", lambda s: leases.fail_attempt(s, lease, error, most))

    def reap(self) -> dict[str, dict[int, str]]:
        """End every worker's leases that ran out; by atlas, the shards that wait again and whom each was lost by."""
        with self.sessions() as session:
            ids = leases.atlases_with_expired(session)
        lost: dict[str, dict[int, str]] = {}
        for atlas_id in ids:
            with self.sessions.begin(lock_seconds=LOCK_SECONDS) as session:
                waiting = leases.reap_expired(session, atlas_id, self._settings.max_attempts)
                if waiting:
                    lost[atlas_id] = leases.last_workers(session, waiting)
        return lost
