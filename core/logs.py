"""The log: text for a person at a terminal, one JSON object a line for everybody else, both to stderr.

`set_up` is called once by each process that runs for long. Who works at what comes from the surroundings, so that a
line deep inside the method, or inside a library, has its ids too:

    with log_context(shard=lease.shard_id, atlas=lease.atlas_id):
        log.info("begins")      # {"time": ..., "message": "begins", "shard": 12, "atlas": "01J..."}

What is handed to another thread takes the surroundings along with `carried`. What goes wrong as foreseen is told in
one line, whoever logs it; the traceback of anything else is a field of its line (of JSON) or follows it (in text).
"""

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal, ParamSpec, TextIO, TypeVar

from pythonjsonlogger.json import JsonFormatter

from core.errors import DeepvisError

P = ParamSpec("P")
R = TypeVar("R")

FIELDS = (
    "worker", "atlas", "shard", "layer", "units", "recipe", "attempt", "seconds", "stages",
    "client", "owner", "action", "method", "path", "status",
)  # fmt: skip
"""What a JSON line holds beside time, level, logger, pid and message, where it applies."""
FORESEEN = (DeepvisError, ConnectionError, TimeoutError)
"""Errors whose traceback tells nobody anything: services that are away, and what we raise ourselves."""

CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}
CONTROLS |= {0x2028: r"\u2028", 0x2029: r"\u2029"}
"""Characters that move a terminal's cursor or begin a line, and how they are written instead."""

CHATTY_LOGGERS = ("alembic", "httpx")
"""Libraries that tell at INFO what nobody asked."""

_context: ContextVar[dict[str, Any]] = ContextVar("log_context", default={})  # noqa: B039  # never changed in place
_identity: dict[str, Any] = {}


# --- who works at what -------------------------------------------------------------


def identify(**fields: Any) -> None:
    """Fields that every line of this process has from now on, in all its threads: who it is."""
    _identity.update(fields)


@contextmanager
def log_context(**fields: Any) -> Iterator[None]:
    """Fields that every line of this thread has inside the block, on top of those of the blocks around it."""
    token = _context.set(_context.get() | fields)
    try:
        yield
    finally:
        _context.reset(token)


def carried(work: Callable[P, R]) -> Callable[P, R]:
    """`work`, to be called in another thread with the surroundings of this moment in this one."""
    context = copy_context()

    def call(*args: P.args, **options: P.kwargs) -> R:
        return context.run(work, *args, **options)

    return call


# --- setting up ----------------------------------------------------------------------


def set_up(
    log_format: Literal["auto", "text", "json"],
    level: str,
    *,
    foreseen: tuple[type[BaseException], ...] = (),
    is_foreseen: Callable[[BaseException], bool] | None = None,
    stream: TextIO | None = None,
) -> None:
    """Send every logger of this process to stderr in one form; calling it again replaces what was there.

    Args:
        log_format: "auto" is text on a terminal, else JSON.
        level: least severe level that is kept.
        foreseen: errors of libraries that are told in one line, on top of `FORESEEN`.
        is_foreseen: says of any other error whether it is, too, where its class alone does not tell.
        stream: where to write instead of stderr.
    """
    handler = _handler(log_format, stream or sys.stderr)
    handler.addFilter(OneLine((*FORESEEN, *foreseen), is_foreseen))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    if level != "DEBUG":
        for name in CHATTY_LOGGERS:
            logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread


@contextmanager
def only(logger: logging.Logger, log_format: Literal["auto", "text", "json"]) -> Iterator[None]:
    """Have the lines of `logger` on stderr inside the block, for a command that has no log of its own."""
    handler = _handler(log_format, sys.stderr)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def _handler(log_format: str, stream: TextIO) -> logging.Handler:
    as_json = log_format == "json" or (log_format == "auto" and not stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLine() if as_json else TextLine())
    handler.addFilter(_add_context)
    return handler


class JsonLine(JsonFormatter):
    """One JSON object: time (UTC), level, logger, pid, message, the fields that apply, and the traceback if any."""

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        log_data["time"] = _iso(record.created)
        log_data.update(level=record.levelname, logger=record.name, pid=record.process, message=record.message)
        found = record.__dict__
        log_data.update({name: found[name] for name in FIELDS if found.get(name) is not None})
        if "exc_info" in message_dict:
            log_data["exception"] = message_dict["exc_info"]


class TextLine(logging.Formatter):
    """One line for a person: time, level, message; the traceback of what nobody foresaw comes below it."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's own name
        record.message = _folded(record.message)  # a line break in a message must not look like a line of its own
        return super().formatMessage(record)

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).translate(CONTROLS)


class OneLine(logging.Filter):
    """Takes the traceback of foreseen errors out of a record and puts what they say at the end of its message."""

    def __init__(
        self, foreseen: tuple[type[BaseException], ...], is_foreseen: Callable[[BaseException], bool] | None = None
    ) -> None:
        super().__init__()
        self._classes = foreseen
        self._is_foreseen = is_foreseen

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
        if error is not None and self._foreseen(error):
            said, told = _folded(record.getMessage()), _first_line(error)
            record.msg, record.args = (said if told in said else f"{said}: {told}"), ()
            record.exc_info = record.exc_text = None
        return True

    def _foreseen(self, error: BaseException) -> bool:
        return isinstance(error, self._classes) or (self._is_foreseen is not None and self._is_foreseen(error))


def _add_context(record: logging.LogRecord) -> bool:
    """Runs in the thread that logs; what the call itself named wins."""
    for name, value in (_identity | _context.get()).items():
        record.__dict__.setdefault(name, value)
    return True


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _folded(text: str) -> str:
    return " ".join(line.strip() for line in text.splitlines() if line.strip()) if "\n" in text else text


def _first_line(error: BaseException) -> str:
    """The first line of what it says: drivers append whole statements and advice."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _log_uncaught(kind: type[BaseException], error: BaseException, at: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, at)
    else:
        logging.getLogger("core.logs").critical("ended by an error", exc_info=(kind, error, at))


def _log_uncaught_in_thread(what: threading.ExceptHookArgs) -> None:
    if what.exc_value is not None and not issubclass(what.exc_type, SystemExit):
        name = what.thread.name if what.thread else "?"
        error = (what.exc_type, what.exc_value, what.exc_traceback)
        logging.getLogger("core.logs").critical("thread %s ended by an error", name, exc_info=error)
