"""What is the database's fault, and what is ours."""

import sqlite3
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoFreeConnection

from db.outages import is_clash, is_outage
from db.session import make_engine
from tests.services import free_port


def wrapped(orig: Exception) -> BaseException:
    """As SQLAlchemy raises what psycopg does."""
    return DBAPIError.instance("SELECT 1", {}, orig, psycopg.Error)


def postgres(state: str) -> BaseException:
    return wrapped(psycopg.errors.lookup(state)("said"))


@pytest.mark.parametrize("state", ["25P03", "25006", "40001", "40P01", "53100", "55P03", "57P01", "57P03", "08006"])
def test_an_outage_of_postgres_is_known_by_its_state(state: str):
    assert is_outage(postgres(state))
    assert is_clash(postgres(state)) == state.startswith("40")


@pytest.mark.parametrize("state", ["42P01", "42703", "23505", "22003", "54001", "25P02"])
def test_a_mistake_is_no_outage(state: str):
    assert not is_outage(postgres(state))


def test_a_lost_connection_is_an_outage():
    lost = wrapped(psycopg.ProgrammingError("said"))
    assert isinstance(lost, DBAPIError)
    assert not is_outage(lost)
    lost.connection_invalidated = True
    assert is_outage(lost)
    assert is_outage(wrapped(psycopg.InterfaceError("the connection is closed")))
    assert is_outage(NoFreeConnection())
    assert not is_outage(ValueError("of ours"))


def raised(url: str, statement: str, **options: float) -> SQLAlchemyError:
    engine = make_engine(url, **options)  # type: ignore[arg-type]
    try:
        with pytest.raises(SQLAlchemyError) as caught, engine.begin() as connection:
            connection.execute(text(statement))
    finally:
        engine.dispose()
    return caught.value


def test_no_server_is_an_outage():
    assert is_outage(raised(f"postgresql://u@127.0.0.1:{free_port()}/d", "SELECT 1"))


def test_a_locked_file_is_an_outage_and_a_missing_table_is_none(tmp_path: Path):
    file = tmp_path / "d.db"
    assert not is_outage(raised(f"sqlite:///{file}", "SELECT * FROM nothing"))
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        assert is_outage(raised(f"sqlite:///{file}", "SELECT 1", busy_seconds=0))
    finally:
        other.close()


def test_a_file_that_cannot_be_opened_is_an_outage(tmp_path: Path):
    (tmp_path / "folder").mkdir()
    assert is_outage(raised(f"sqlite:///{tmp_path / 'folder'}", "SELECT 1"))
