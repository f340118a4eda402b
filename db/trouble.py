"""What a database's refusal means, in words for people, with the command or setting that mends it."""

import re
from dataclasses import dataclass, field

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError

from core.errors import BadSetting, DeepvisError, NotReady

MEND_URL = "Mend DEEPVIS_DATABASE_URL."


@dataclass(frozen=True)
class _Trouble:
    """What the driver says, and what to say instead; `passing` if waiting may help.

    The texts may name {host}, {port}, {user}, {database} and {file}.
    """

    said: str
    detail: str
    remedy: str
    passing: bool = field(default=False, kw_only=True)


_POSTGRES = (
    _Trouble(
        r"resolve host|translate host name|not known|name resolution",
        "The database's host {host} is not known here.",
        "Mend the host in DEEPVIS_DATABASE_URL, or wait until its name is served.",
        passing=True,
    ),
    _Trouble(
        r'database "[^"]*" does not exist',
        "PostgreSQL at {host}:{port} has no database {database}.",
        "Make it: psql -h {host} -p {port} -U {user} postgres -c 'CREATE DATABASE \"{database}\"' "
        "and then run `deepvis db upgrade`.",
    ),
    _Trouble(
        r"authentication failed|no password supplied|SCRAM",
        "PostgreSQL at {host}:{port} refuses the password of {user}.",
        "Mend user and password in DEEPVIS_DATABASE_URL (special characters written like %40).",
    ),
    _Trouble(
        r'role "[^"]*" does not exist',
        "PostgreSQL at {host}:{port} has no role {user}.",
        "Make it: CREATE ROLE \"{user}\" LOGIN PASSWORD '...'; or mend DEEPVIS_DATABASE_URL.",
    ),
    _Trouble(
        r"no pg_hba.conf entry|not permitted to log in",
        "PostgreSQL at {host}:{port} lets {user} not in from here.",
        "Add a line for this machine to its pg_hba.conf, or mend DEEPVIS_DATABASE_URL.",
    ),
    _Trouble(
        r"permission denied for database",
        "PostgreSQL at {host}:{port} lets {user} not into the database {database}.",
        'As its owner: GRANT CONNECT ON DATABASE "{database}" TO "{user}";',
    ),
    _Trouble(
        r"permission denied for schema|no schema has been selected",
        "The role {user} may not make tables in the database {database}.",
        'As its owner: GRANT USAGE, CREATE ON SCHEMA public TO "{user}";',
    ),
    _Trouble(
        r"permission denied|must be owner",
        "The role {user} may not read and change every table of the database {database}.",
        'As their owner: GRANT ALL ON ALL TABLES IN SCHEMA public TO "{user}"; '
        'GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO "{user}";',
    ),
    _Trouble(
        r"read-only transaction",
        "The database {database} at {host}:{port} takes no changes: it is a standby, or set read-only.",
        "Name the primary in DEEPVIS_DATABASE_URL, or ALTER DATABASE ... RESET default_transaction_read_only.",
        passing=True,
    ),
    _Trouble(
        r"too many clients|remaining connection slots|too many connections",
        "PostgreSQL at {host}:{port} has no connection left.",
        "Raise max_connections in its postgresql.conf, or run fewer workers.",
        passing=True,
    ),
    _Trouble(
        r"starting up|shutting down|recovery mode",
        "PostgreSQL at {host}:{port} is starting or stopping.",
        "Wait a little, and look into its log.",
        passing=True,
    ),
    _Trouble(
        r"No space left|disk full",
        "The disk of PostgreSQL at {host}:{port} is full.",
        "Free some space there.",
        passing=True,
    ),
    _Trouble(
        r"lock timeout|statement timeout",
        "Something else holds locks in the database {database}.",
        "Find it: SELECT pid, state, query FROM pg_stat_activity WHERE state <> 'idle';",
        passing=True,
    ),
    _Trouble(
        r"refused|timeout expired|timed out|No route|unreachable|No such file|closed the connection|received invalid",
        "No PostgreSQL answers at {host}:{port}.",
        "Start it, or mend host and port in DEEPVIS_DATABASE_URL.",
        passing=True,
    ),
)
_SQLITE = (
    _Trouble(
        r"not a database|malformed|disk image",
        "{file} is no SQLite database, or a damaged one.",
        "Move it away and run `deepvis db upgrade`, or name another file in DEEPVIS_DATABASE_URL.",
    ),
    _Trouble(
        r"database is locked|table is locked",
        "The database {file} is locked by another process.",
        "Find it with `fuser {file}`; it must end its transaction.",
        passing=True,
    ),
    _Trouble(
        r"is full|I/O error",
        "The disk of {file} is full or failing.",
        "Free some space there (df -h), or name another file in DEEPVIS_DATABASE_URL.",
    ),
    _Trouble(
        r"unable to open|readonly|read-only",
        "The database {file} cannot be opened for writing.",
        "Make the file and its folder writable, or name another file in DEEPVIS_DATABASE_URL.",
    ),
)


def explain(error: DBAPIError, url: URL) -> DeepvisError:
    """The error to raise from `error`: `NotReady` where waiting may help, else `BadSetting`."""
    said = str(error.orig)
    troubles = _SQLITE if url.get_backend_name() == "sqlite" else _POSTGRES
    found = next((trouble for trouble in troubles if re.search(trouble.said, said)), None)
    if found is None:
        return BadSetting(f"The database cannot be used: {said.partition(chr(10))[0].rstrip('.')}.", MEND_URL)
    kind = NotReady if found.passing else BadSetting
    names = _names(url)
    return kind(found.detail.format(**names), found.remedy.format(**names))


def _names(url: URL) -> dict[str, object]:
    return {
        "host": (url.host or "").rpartition("@")[2] or url.query.get("host") or "localhost",
        "port": url.port or 5432,
        "user": url.username or "(none)",
        "database": url.database or url.username or "(none)",
        "file": url.database,
    }
