"""Why something did not work, in words for people: in the database and in the log."""

import logging

from core.errors import DeepvisError, ProbeSetChanged, StoreUnavailable, UnknownProbeSet

log = logging.getLogger(__name__)


def explain(error: Exception) -> str:
    """An error for people: our own say all that is needed, others are named too."""
    if isinstance(error, DeepvisError):
        return str(error)
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def first_line(error: Exception) -> str:
    """The first line of `explain`: drivers append whole statements and advice. Never empty, never raises."""
    return explain(error).partition("\n")[0] or type(error).__name__


def report(what: str, error: Exception) -> None:
    """Log a failure; with its traceback if nobody foresaw it."""
    log.error("%s: %s", what, explain(error), exc_info=None if isinstance(error, DeepvisError) else error)


def is_final(error: BaseException) -> bool:
    """Whether another attempt would end in the same way, wherever it is made."""
    return isinstance(error, (UnknownProbeSet, ProbeSetChanged))


def is_setback(error: BaseException) -> bool:
    """Whether something around the work failed that may be mended: the work itself is not to blame."""
    return isinstance(error, StoreUnavailable)
