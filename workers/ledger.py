"""This worker's side of the leases: each command of `db.leases` in a transaction of its own."""

import logging
import time
from collections.abc import Mapping, Sequence

from sqlalchemy.exc import OperationalError

from core.settings import Settings
from db import leases
from db.leases import Lease, PictureRow
from db.session import make_engine, make_sessions

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0


class Ledger:
    """The database as worker `worker_id` uses it. Opens no connection until it is used."""

    def __init__(self, settings: Settings, worker_id: str) -> None:
        self.worker_id = worker_id
        self._settings = settings
        self._engine = make_engine(settings.resolved_database_url)
        self.sessions = make_sessions(self._engine)

    def close(self) -> None:
        self._engine.dispose()

    def lease(self, shard_id: int) -> Lease | None:
        """Lease a shard; None if there is nothing to do for it."""
        seconds, most = self._settings.lease_seconds, self._settings.max_attempts
        with self.sessions.begin() as session:
            return leases.lease_shard(session, shard_id, self.worker_id, seconds, max_attempts=most)

    def renew(self, fractions: Mapping[str, float]) -> set[str]:
        """Extend the leases of these tokens; those still worth working for."""
        with self.sessions.begin() as session:
            return leases.renew(session, self.worker_id, set(fractions), fractions, self._settings.lease_seconds)

    def commit(self, lease: Lease, pictures: Sequence[PictureRow]) -> None:
        """Make the pictures true; tries again for a lease time while the database cannot be reached.

        Raises:
            LostLease: the shard is somebody else's, or given up.
        """
        deadline = time.monotonic() + self._settings.lease_seconds
        while True:
            try:
                with self.sessions.begin() as session:
                    leases.commit_shard(session, lease, pictures)
                return
            except OperationalError as error:
                if time.monotonic() > deadline:
                    raise
                log.warning("shard %s: the database cannot be reached, again: %s", lease.shard_id, error.orig)
                time.sleep(RETRY_SECONDS)

    def release(self, lease: Lease) -> None:
        """Give a shard back unfinished: the attempt does not count."""
        with self.sessions.begin() as session:
            leases.release(session, lease)

    def fail_attempt(self, lease: Lease, error: str) -> None:
        """Note why an attempt at a shard failed."""
        with self.sessions.begin() as session:
            leases.fail_attempt(session, lease, error, self._settings.max_attempts)

    def reap(self) -> list[int]:
        """End every worker's leases that ran out; the shards that wait again."""
        with self.sessions.begin() as session:
            return leases.reap_expired(session, self._settings.max_attempts)
