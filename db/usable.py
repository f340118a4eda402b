"""Whether the database can do what every part of the service needs of it."""

from datetime import UTC, datetime

from sqlalchemy import Engine, delete, false
from sqlalchemy.exc import DBAPIError

from db import clock
from db.models import Shard, Worker
from db.session import check_schema, make_engine, make_sessions
from db.trouble import explain

BUSY_SECONDS = 5.0
"""How long the check waits for SQLite's write lock."""


def check_database(url: str) -> None:
    """Return if the database answers, has this version's tables, and takes changes; nothing of it is kept open.

    Raises:
        NotReady: it cannot be used now; that may pass.
        BadSetting: it cannot be used as it is, with the command that mends it.
    """
    engine = make_engine(url, busy_seconds=BUSY_SECONDS)
    try:
        check_schema(engine)
        _check_writable(engine)
    finally:
        engine.dispose()


def _check_writable(engine: Engine) -> None:
    """Ask for a change of no row: the rights, the lock and the disk are looked at all the same."""
    try:
        with engine.begin() as connection:
            for table in (Worker, Shard):
                connection.execute(delete(table).where(false()))
    except DBAPIError as error:
        raise explain(error, engine.url) from error


def clock_difference(url: str) -> float:
    """Seconds that this machine's clock is ahead of the database's (behind it: negative)."""
    engine = make_engine(url, busy_seconds=BUSY_SECONDS)
    try:
        with make_sessions(engine)() as session:
            return (datetime.now(UTC) - clock.now(session)).total_seconds()
    finally:
        engine.dispose()
