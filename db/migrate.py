"""Migrations: bring a database to this version's tables, from any working folder."""

import logging
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text
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


def upgrade(url: str) -> None:
    """Create or change the tables of the database at `url` as this version needs them; nothing if they are right.

    Safe to run from several processes at once: one works, the others wait for it, at most `LOCK_SECONDS`.

    Raises:
        NotReady: the database cannot be reached now, or is locked.
        BadSetting: the database cannot be used or written, or is of a newer version.
    """
    engine = make_engine(url, busy_seconds=SQLITE_LOCK_SECONDS)
    try:
        with engine.begin() as connection:
            _upgrade(connection)
    except DBAPIError as error:
        raise explain(error, engine.url) from error
    finally:
        engine.dispose()


def _upgrade(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        _lock(connection)
    present = MigrationContext.configure(connection).get_current_revision()
    if present is not None and not known(present):
        raise BadSetting("The database is of a newer version of deepvis.", "Install that version.")
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


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
