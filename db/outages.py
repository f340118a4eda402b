"""How the libraries say that the database is away, full, locked or busy: nothing that a traceback would explain."""

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoFreeConnection

_POSTGRES_OUTAGES = (
    "08",  # the connection broke
    "25006",  # read-only: a standby, before or after a failover
    "25P03",  # it ended a transaction that was idle for too long: this process was frozen
    "25P04",  # or took too long
    "28",  # the password was changed
    "3D",  # the database is not there, or not yet again
    "40",  # a deadlock, a serialization failure
    "53",  # no disk, memory or connections left
    "55P03",  # locked for too long
    "57",  # shut down, starting up, or an operator ended it
    "58",  # its system fails it
)
"""SQLSTATEs, or their beginnings."""
_POSTGRES_SILENT = ("OperationalError", "InterfaceError")
"""Classes of psycopg that come without an SQLSTATE when no server answers, or a connection is closed."""
_SQLITE_OUTAGES = frozenset({5, 6, 7, 8, 10, 13, 14, 15})
"""Busy, locked, out of memory, read-only, I/O error, full, cannot open, locking protocol.

Its "no such column" is an OperationalError too, and a bug.
"""


def is_outage(error: BaseException) -> bool:
    """Whether the database is to blame, not what was asked of it: the same may work later."""
    if not isinstance(error, DBAPIError):
        return isinstance(error, NoFreeConnection)
    if error.connection_invalidated:
        return True
    code = getattr(error.orig, "sqlite_errorcode", None)
    if code is not None:
        return (code & 0xFF) in _SQLITE_OUTAGES  # above that are its details
    if state := sqlstate(error):
        return state.startswith(_POSTGRES_OUTAGES)
    return _module(error).startswith("psycopg") and type(error.orig).__name__ in _POSTGRES_SILENT


def is_clash(error: BaseException) -> bool:
    """Whether two transactions were in each other's way and this one was undone: it may be tried again at once."""
    return sqlstate(error).startswith("40")


def sqlstate(error: BaseException) -> str:
    """PostgreSQL's five characters for what went wrong; empty if it did not say."""
    return getattr(getattr(error, "orig", None), "sqlstate", None) or ""


def _module(error: DBAPIError) -> str:
    return type(error.orig).__module__
