"""Errors of the system and of libraries, in the two lines that people get: what is wrong, what would be right."""

import errno
import sys

from core.errors import BadSetting, DeepvisError

_OWN_ROOMS = frozenset({"core", "deepvis", "store", "db", "broker", "workers", "api", "cli"})
_REMEDIES = {
    errno.ENOSPC: "Free some space there (df -h), or set DEEPVIS_HOME to a roomier place.",
    errno.EDQUOT: "Free some of your quota, or set DEEPVIS_HOME to another place.",
    errno.EROFS: "It is a read-only file system: set DEEPVIS_HOME to a folder that you may write to.",
    errno.EACCES: "Make it yours (chown, chmod), or set DEEPVIS_HOME to a folder that you may write to.",
    errno.EPERM: "Make it yours (chown, chmod), or set DEEPVIS_HOME to a folder that you may write to.",
    errno.EMFILE: "Allow more open files: ulimit -n 4096.",
    errno.ENFILE: "The machine has no more open files to give: raise fs.file-max.",
    errno.ENOMEM: "The machine has no memory left: end something else.",
}


def in_words(error: Exception) -> DeepvisError | None:
    """`error` as one of ours where it comes from the machine or the installation; None for what is a bug."""
    if isinstance(error, DeepvisError):
        return error
    if isinstance(error, OSError):
        return _of_the_system(error)
    if isinstance(error, ImportError):
        return _of_the_installation(error)
    return _of_the_database(error)


def remedy_of(error: OSError, otherwise: str = "") -> str:
    """What mends an error of the system; `otherwise` where that is not known."""
    return _REMEDIES.get(error.errno or 0, otherwise)


def _of_the_system(error: OSError) -> DeepvisError | None:
    remedy = remedy_of(error)
    if not remedy:
        return None
    where = f"{error.filename}: " if error.filename else ""
    return BadSetting(f"{where}{error.strerror}.", remedy)


def _of_the_installation(error: ImportError) -> DeepvisError | None:
    package = (error.name or "").partition(".")[0]
    if not package or package in _OWN_ROOMS:
        return None
    return BadSetting(f"The Python package {package} cannot be imported: {error}.", "make install")


def _of_the_database(error: Exception) -> DeepvisError | None:
    """Nothing is imported for this: an error of SQLAlchemy means that it is there already."""
    sqlalchemy = sys.modules.get("sqlalchemy.exc")
    if sqlalchemy is None or not isinstance(error, sqlalchemy.DBAPIError):
        return None
    from cli.running import connected_settings
    from db.session import parse_url
    from db.trouble import explain

    return explain(error, parse_url(connected_settings().resolved_database_url))
