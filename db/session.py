"""Engines and sessions: how a transaction begins on SQLite and on PostgreSQL.

Two ways to use what `make_sessions` gives, and no third:

    with sessions.begin() as session:   # a writing transaction; commits at the end, rolls back on an error
        leases.commit_shard(session, lease, pictures)

    with sessions() as session:         # reads only; the database refuses writes
        return queries.get_atlas(session, atlas_id)

A writing transaction takes SQLite's write lock at its start (BEGIN IMMEDIATE): it waits its turn there, and never
fails half-way because somebody wrote in between. One command a transaction: commands lock rows in the order atlas,
then shards, and two of them in one transaction could meet another pair the other way round.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from psycopg.types.string import StrDumperUnknown
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.orm import Session, sessionmaker

from core.errors import BadSetting

BUSY_SECONDS = 30
"""How long a writer waits for SQLite's one write lock."""


class Sessions(sessionmaker[Session]):
    """Makes sessions: `begin()` for writing, a plain call for reading."""

    def __init__(self, engine: Engine) -> None:
        readers = engine.execution_options(postgresql_readonly=True, sqlite_begin="BEGIN", sqlite_query_only=True)
        super().__init__(readers, expire_on_commit=False)
        self.engine = engine

    @contextmanager
    def begin(self) -> Iterator[Session]:
        """A session in a writing transaction, committed at the end of the block."""
        with self(bind=self.engine) as session, session.begin():
            yield session


def make_sessions(engine: Engine) -> Sessions:
    """The session maker for an engine of `make_engine`."""
    return Sessions(engine)


def make_engine(url: str, *, pool_size: int = 8) -> Engine:
    """An engine for an SQLite file ("sqlite:///path") or PostgreSQL ("postgresql://..."). Opens no connection.

    Up to `pool_size` connections to PostgreSQL are kept open; more are opened for as long as they are needed.

    Raises:
        BadSetting: the URL cannot be read, or names a database that is neither.
    """
    parsed = _parse(url)
    if parsed.get_backend_name() == "sqlite":
        return _sqlite_engine(parsed)
    engine = create_engine(parsed, pool_pre_ping=True, pool_size=pool_size, max_overflow=24)
    event.listen(engine, "connect", _accept_any_text)
    return engine


def _parse(url: str) -> URL:
    remedy = "Use sqlite:////folder/deepvis.db or postgresql://user:password@host/name."
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise BadSetting("DEEPVIS_DATABASE_URL is not a database URL.", remedy) from error
    if parsed.drivername in {"postgres", "postgresql"}:
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in {"sqlite", "sqlite+pysqlite", "postgresql+psycopg"}:
        raise BadSetting(f"There is no support for {parsed.drivername!r} databases.", remedy)
    if parsed.get_backend_name() == "sqlite" and parsed.database in {None, "", ":memory:"}:
        raise BadSetting("An SQLite database needs a file: every process must see the same one.", remedy)
    return parsed


def _sqlite_engine(url: URL) -> Engine:
    folder = Path(str(url.database)).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadSetting(f"The folder {folder} of the database cannot be made: {error.strerror}.") from error
    # isolation_level None: the driver begins no transactions by itself, `_begin` does.
    arguments = {"isolation_level": None, "timeout": BUSY_SECONDS, "check_same_thread": False}
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
        BadSetting: it cannot be reached, or is empty, older or newer.
    """
    from db import migrate  # imports Alembic, which only this check and migrations need

    try:
        present = migrate.revision(engine)
    except DBAPIError as error:
        raise BadSetting(f"The database cannot be used: {error.orig}.", "Check DEEPVIS_DATABASE_URL.") from error
    if present == migrate.head():
        return
    if present is not None and not migrate.known(present):
        raise BadSetting("The database is of a newer version of deepvis.", "Install that version.")
    what = "has no tables yet" if present is None else "is of an older version"
    raise BadSetting(f"The database {what}.", "Run `deepvis db upgrade`.")
