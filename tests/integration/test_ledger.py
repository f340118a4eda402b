"""How patient a worker is with its database."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import Session

from core.settings import load_settings
from core.specs import DeviceKind
from db.migrate import upgrade
from db.session import Sessions
from tests.integration.records import describe, results, running_atlas
from tests.services import free_port
from workers.ledger import Ledger
from workers.stopping import StopFlag

pytestmark = pytest.mark.integration


@pytest.fixture
def stop() -> StopFlag:
    return StopFlag()


@pytest.fixture
def ledger(tmp_path: Path, stop: StopFlag) -> Iterator[Ledger]:
    made = Ledger(load_settings(home=tmp_path), "w", DeviceKind.CPU, stop)
    yield made
    made.close()


class Failing:
    """Fails as the database does, so often, and then works."""

    def __init__(self, state: str, times: int) -> None:
        self.state = state
        self.left = times

    def __call__(self, _session: Session) -> str:
        self.left -= 1
        if self.left >= 0:
            orig = psycopg.errors.lookup(self.state)("said")
            raise DBAPIError.instance("SELECT 1", {}, orig, psycopg.Error)
        return "done"


def test_what_a_deadlock_undid_is_done_again_at_once(ledger: Ledger):
    start = time.monotonic()
    assert ledger.patiently("trying", Failing("40P01", 3)) == "done"
    assert time.monotonic() - start < 0.9


def test_an_idle_transaction_that_was_ended_is_done_again(ledger: Ledger):
    assert ledger.patiently("trying", Failing("25P03", 1)) == "done"


def test_a_mistake_is_not_repeated(ledger: Ledger):
    trying = Failing("42703", 1)
    with pytest.raises(DBAPIError):
        ledger.patiently("trying", trying)
    assert trying.left == 0


def test_patience_ends_when_the_worker_has_to_stop(tmp_path: Path, stop: StopFlag):
    settings = load_settings(home=tmp_path, database_url=f"postgresql://u@127.0.0.1:{free_port()}/d")
    away = Ledger(settings, "w", DeviceKind.CPU, stop)
    stop.set(time.monotonic() + 1.5)
    start = time.monotonic()
    with pytest.raises(OperationalError):
        away.lease(1)
    assert time.monotonic() - start < 5  # not for a lease of 60 s
    away.close()


def test_a_lease_that_was_committed_unheard_is_the_worker_s(ledger: Ledger, monkeypatch: pytest.MonkeyPatch):
    """The connection breaks after the commit: the worker asks again and is given what it has."""
    upgrade(ledger._settings.resolved_database_url)
    with ledger.sessions.begin() as session:
        describe(session)
        running_atlas(session)
    broken = []

    @contextmanager
    def begin() -> Iterator[Session]:
        with Sessions.begin(ledger.sessions) as session:
            yield session
        if not broken:
            broken.append(True)
            raise DBAPIError.instance("COMMIT", {}, psycopg.OperationalError("gone"), psycopg.Error)

    monkeypatch.setattr(ledger.sessions, "begin", begin)
    monkeypatch.setattr("workers.ledger.RETRY_SECONDS", 0.01)
    lease = ledger.lease(1)
    assert broken
    assert lease is not None
    assert lease.attempt == 1
    broken.clear()
    ledger.commit(lease, results(lease))
    assert broken
