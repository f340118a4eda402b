"""Engines and sessions: how a transaction begins on SQLite and on PostgreSQL.

Two ways to use what `make_sessions` gives, and no third:

    with sessions.begin() as session:   # a writing transaction; commits at the end, rolls back on an error
        leases.commit_shard(session, lease, result)

    with sessions() as session:         # reads only; the database refuses writes
        return queries.get_atlas(session, atlas_id)

A writing transaction takes SQLite's write lock at its start (BEGIN IMMEDIATE): it waits its turn there, and never
fails half-way because somebody wrote in between. One command a transaction: each locks rows in the order that
`db.completion` gives, and two of them in one transaction could meet another pair the other way round.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from psycopg.types.string import StrDumperUnknown
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.orm import Session, sessionmaker

from core.errors import BadSetting
from db.trouble import explain

BUSY_SECONDS = 30
"""How long a writer waits for SQLite's one write lock."""
_POSTGRES_CLIENT = {
    # A server that does not answer while connecting, or that vanishes later, is noticed within half a minute.
    "connect_timeout": 5,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
    "application_name": "deepvis",
}
_POSTGRES_SERVER = (
    # What a client that vanished or froze in the middle of a transaction had locked is free again soon. A transaction
    # here never waits for anything but the database.
    "SET idle_in_transaction_session_timeout = '20s'",
    "SET tcp_keepalives_idle = 10",
    "SET tcp_keepalives_interval = 5",
    "SET tcp_keepalives_count = 3",
    "SET tcp_user_timeout = 20000",
)


class Sessions(sessionmaker[Session]):
    """Makes sessions: `begin()` for writing, a plain call for reading."""

    def __init__(self, engine: Engine) -> None:
        readers = engine.execution_options(postgresql_readonly=True, sqlite_begin="BEGIN", sqlite_query_only=True)
        super().__init__(readers, expire_on_commit=False)
        self.engine = engine

    @contextmanager
    def begin(self, *, lock_seconds: float | None = None) -> Iterator[Session]:
        """A session in a writing transaction, committed at the end of the block.

        On PostgreSQL `lock_seconds` is how long it waits for a row that somebody else has locked (an OperationalError).
        """
        with self(bind=self.engine) as session, session.begin():
            if lock_seconds is not None and self.engine.dialect.name == "postgresql":
                session.execute(text(f"SET LOCAL lock_timeout = {int(lock_seconds * 1000)}"))
            yield session


def make_sessions(engine: Engine) -> Sessions:
    """The session maker for an engine of `make_engine`."""
    return Sessions(engine)


def make_engine(url: str, *, pool_size: int = 8, busy_seconds: float = BUSY_SECONDS) -> Engine:
    """An engine for an SQLite file ("sqlite:///path") or PostgreSQL ("postgresql://..."). Opens no connection.

    Up to `pool_size` connections to PostgreSQL are kept open; more are opened for as long as they are needed.
    `busy_seconds` is how long a writer waits for SQLite's lock.

    Raises:
        BadSetting: the URL cannot be read, or names a database that is neither.
    """
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite":
        return _sqlite_engine(parsed, busy_seconds)
    # What the URL itself says about the connection goes before.
    arguments = {name: value for name, value in _POSTGRES_CLIENT.items() if name not in parsed.query}
    engine = create_engine(parsed, pool_pre_ping=True, pool_size=pool_size, max_overflow=24, connect_args=arguments)
    event.listen(engine, "connect", _accept_any_text)
    event.listen(engine, "connect", _let_nothing_linger)
    return engine


def parse_url(url: str) -> URL:
    """The URL of a database that there is support for, with its driver.

    Raises:
        BadSetting: it cannot be read, or names another kind.
    """
    remedy = "Use sqlite:////folder/deepvis.db or postgresql://user:password@host/name."
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:  # ValueError: a port that is no number
        raise BadSetting("DEEPVIS_DATABASE_URL is not a database URL.", remedy) from error
    if parsed.get_backend_name() != "sqlite" and "@" in f"{parsed.host}{parsed.database}":
        escaped = "Write each @ of a user, password or database as %40."
        raise BadSetting("DEEPVIS_DATABASE_URL has an @ in its password that is not escaped.", escaped)
    if parsed.drivername in {"postgres", "postgresql"}:
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in {"sqlite", "sqlite+pysqlite", "postgresql+psycopg"}:
        raise BadSetting(f"There is no support for {parsed.drivername!r} databases.", remedy)
    if parsed.get_backend_name() == "sqlite" and parsed.database in {None, "", ":memory:"}:
        raise BadSetting("An SQLite database needs a file: every process must see the same one.", remedy)
    return parsed


def _sqlite_engine(url: URL, busy_seconds: float) -> Engine:
    folder = Path(str(url.database)).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        remedy = "Set DEEPVIS_DATABASE_URL, or DEEPVIS_HOME, to a place that you may write to."
        raise BadSetting(f"The folder {folder} of the database cannot be made: {error.strerror}.", remedy) from error
    # isolation_level None: the driver begins no transactions by itself, `_begin` does.
    arguments = {"isolation_level": None, "timeout": busy_seconds, "check_same_thread": False}
    engine = create_engine(url, connect_args=arguments, pool_size=8, max_overflow=24)
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


class _TextDumper(StrDumperUnknown):
    """Text with a NUL, which PostgreSQL cannot hold, goes there with U+FFFD in its place.

    A name from a URL then simply is not found, as on SQLite, and an error message is kept.
    """

    def dump(self, obj: str) -> Any:
        return super().dump(obj.replace("\0", "\ufffd"))


def _accept_any_text(connection: Any, _record: Any) -> None:
    connection.adapters.register_dumper(str, _TextDumper)


def _let_nothing_linger(connection: Any, _record: Any) -> None:
    connection.autocommit = True  # a SET in a transaction that is rolled back would be undone
    for statement in _POSTGRES_SERVER:
        connection.execute(statement)
    connection.autocommit = False


def _prepare(connection: sqlite3.Connection, _record: Any) -> None:
    for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin(connection: Connection) -> None:
    options = connection.get_execution_options()
    query_only = "ON" if options.get("sqlite_query_only") else "OFF"
    connection.exec_driver_sql(f"PRAGMA query_only = {query_only}")
    connection.exec_driver_sql(options.get("sqlite_begin", "BEGIN IMMEDIATE"))


def check_schema(engine: Engine) -> None:
    """Refuse a database whose tables are not those of this version.

    Raises:
        NotReady: it cannot be reached now; that may pass.
        BadSetting: it cannot be used as it is, or is empty, older or newer.
    """
    from db import migrate  # imports Alembic, which only this check and migrations need

    try:
        present = migrate.revision(engine)
    except DBAPIError as error:
        raise explain(error, engine.url) from error
    if present == migrate.head():
        return
    if present is not None and not migrate.known(present):
        raise BadSetting("The database is of a newer version of deepvis.", "Install that version.")
    what = "has no tables yet" if present is None else "is of an older version"
    raise BadSetting(f"The database {what}.", "Run `deepvis db upgrade`.")
