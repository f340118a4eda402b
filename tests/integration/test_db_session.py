"""Sessions, the clock and migrations, on SQLite and PostgreSQL."""

import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from core.errors import BadSetting, NotReady
from db import clock, migrate
from db.models import Base, Worker
from db.session import Sessions, check_schema, make_engine
from db.workers import beat
from tests.integration.records import describe, worker_beat

pytestmark = pytest.mark.integration

WORKER = worker_beat()


def test_migrations_give_exactly_the_models(sessions: Sessions) -> None:
    with sessions.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []
    check_schema(sessions.engine)


def test_upgrade_makes_folder_and_tables_from_any_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    url = f"sqlite:///{tmp_path}/new/folder%20x/deepvis.db"
    migrate.upgrade(url)
    migrate.upgrade(url)
    engine = make_engine(url)
    check_schema(engine)
    engine.dispose()


def test_upgrades_at_once_wait_for_each_other(tmp_path: Path) -> None:
    url, errors = f"sqlite:///{tmp_path}/deepvis.db", []

    def run() -> None:
        try:
            migrate.upgrade(url)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_schema_that_is_not_right_is_refused_with_the_remedy(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/deepvis.db"
    engine = make_engine(url)
    with pytest.raises(BadSetting, match=r"no tables yet.*deepvis db upgrade"):
        check_schema(engine)
    migrate.upgrade(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(BadSetting, match="newer version"):
        check_schema(engine)
    with pytest.raises(BadSetting, match="newer version"):
        migrate.upgrade(url)
    engine.dispose()


def test_unreachable_database_says_so() -> None:
    url = "postgresql://nobody@127.0.0.1:1/nothing"
    engine = make_engine(url)
    for use in (lambda: check_schema(engine), lambda: migrate.upgrade(url)):
        with pytest.raises(NotReady, match=r"No PostgreSQL answers at 127\.0\.0\.1:1"):
            use()


@pytest.mark.parametrize("url", ["nonsense", "mysql://host/name", "sqlite://", "sqlite:///:memory:", ""])
def test_url_of_no_database_is_refused(url: str) -> None:
    with pytest.raises(BadSetting):
        make_engine(url)


def test_a_transaction_left_open_is_ended_by_postgresql(migrated_postgres: str) -> None:
    """A worker that froze or vanished while it held locks does not hold them for ever."""
    engine = make_engine(migrated_postgres)
    with engine.connect() as connection:
        assert connection.scalar(text("SHOW idle_in_transaction_session_timeout")) == "20s"
        connection.rollback()
        assert connection.scalar(text("SHOW idle_in_transaction_session_timeout")) == "20s"
    engine.dispose()


def test_clock_is_aware_and_moves(sessions: Sessions) -> None:
    with sessions() as session:
        first = clock.now(session)
        time.sleep(0.01)
        second = clock.now(session)
    assert first.tzinfo is UTC
    assert first < second
    assert abs((datetime.now(UTC) - second).total_seconds()) < 60


def test_times_come_back_aware(sessions: Sessions) -> None:
    with sessions.begin() as session:
        beat(session, WORKER)
    with sessions() as session:
        worker = session.scalars(select(Worker)).one()
        assert worker.heartbeat_at.tzinfo is UTC
        assert abs((clock.now(session) - worker.heartbeat_at).total_seconds()) < 60


def test_reading_session_refuses_to_write(sessions: Sessions) -> None:
    with sessions.begin() as session:
        describe(session)
    with sessions() as session, pytest.raises(DBAPIError):
        beat(session, WORKER)
    with sessions.begin() as session:
        beat(session, WORKER)


def test_readers_do_not_wait_for_a_writer(sessions: Sessions) -> None:
    with sessions.begin() as writer:
        beat(writer, WORKER)
        with sessions() as reader:
            assert reader.scalars(select(Worker)).all() == []


def test_writers_take_turns(sessions: Sessions) -> None:
    """Read, then write, from several threads: no update is lost, nobody meets a locked database."""
    with sessions.begin() as session:
        beat(session, WORKER)

    def count() -> None:
        for _ in range(20):
            with sessions.begin() as session:
                worker = session.scalars(select(Worker).with_for_update()).one()
                worker.images_done += 1

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with sessions() as session:
        assert session.scalars(select(Worker.images_done)).one() == 80
