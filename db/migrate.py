"""Migrations: bring a database to this version's tables, from any working folder."""

import logging
import sqlite3
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.exc import DBAPIError

from core.errors import BadSetting
from db.session import make_engine
from db.trouble import explain

log = logging.getLogger(__name__)

# Any number that no other program on the same PostgreSQL database uses for its own advisory locks.
_LOCK = 0x64656570
LOCK_SECONDS = 300
"""How long an upgrade of PostgreSQL waits for another one, or for whoever uses a table that it changes."""
SQLITE_LOCK_SECONDS = 8.0


def upgrade(url: str, to: str = "head") -> None:
    """Create or change the tables of the database at `url` as this version needs them; nothing if they are right.

    `to` names an older revision, for tests of what follows it. An upgrade that fails changes nothing.
    Safe to run from several processes at once: one works, the others wait for it, at most `LOCK_SECONDS`.

    Raises:
        NotReady: the database cannot be reached now, or is locked.
        BadSetting: the database cannot be used or written, is of a newer version, or has rows that name missing ones.
    """
    engine = make_engine(url, busy_seconds=SQLITE_LOCK_SECONDS)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _let_tables_be_replaced)
    try:
        with engine.begin() as connection:
            _upgrade(connection, to)
    except DBAPIError as error:
        raise explain(error, engine.url) from error
    finally:
        engine.dispose()


def _upgrade(connection: Connection, to: str) -> None:
    if connection.dialect.name == "postgresql":
        _lock(connection)
    present = MigrationContext.configure(connection).get_current_revision()
    if present is not None and not known(present):
        raise BadSetting("The database is of a newer version of deepvis.", "Install that version.")
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, to)
    if connection.dialect.name == "sqlite" and present != head():
        _check_references(connection)


def _let_tables_be_replaced(connection: sqlite3.Connection, _record: Any) -> None:
    """SQLite changes a table by dropping it for a copy, while rows of others name its rows.

    Said here, as it has no effect within a transaction; `_check_references` makes up for it.
    """
    connection.execute("PRAGMA foreign_keys = OFF").close()


def _check_references(connection: Connection) -> None:
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    if broken:
        tables = ", ".join(sorted({row[0] for row in broken}))
        raise BadSetting(
            f"{len(broken)} rows of the database ({tables}) name rows that are not there; nothing was changed.",
            "Restore the database from a backup.",
        )


def _lock(connection: Connection) -> None:
    """Be the only upgrade of this PostgreSQL database, and wait for no lock in it for ever."""
    connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'"))
    if not connection.scalar(text("SELECT pg_try_advisory_xact_lock(:lock)"), {"lock": _LOCK}):
        log.warning("another upgrade works on this database; waiting for it for %d seconds at most", LOCK_SECONDS)
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})


def revision(engine: Engine) -> str | None:
    """The revision that the database is at; None if it has no tables."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def head() -> str | None:
    """The revision that this version needs."""
    return _scripts().get_current_head()


def known(present: str) -> bool:
    """Whether this version knows the revision `present`."""
    return present in {script.revision for script in _scripts().walk_revisions()}


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


def _config() -> Config:
    config = Config()
    folder = str(Path(__file__).parent / "migrations")
    config.set_main_option("script_location", folder.replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
