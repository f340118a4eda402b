"""A worker's log: ours instead of Celery's, and an outage of the database or the broker in one line each time."""

import logging
import threading
from typing import Any

from amqp.exceptions import AMQPError
from billiard import util as billiard
from billiard.einfo import ExceptionWithTraceback
from billiard.exceptions import TimeLimitExceeded, WorkerLostError
from celery import signals
from celery.apps import worker as celery_worker
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from core import logs
from core.settings import Settings
from db.outages import is_outage

log = logging.getLogger(__name__)

FORESEEN = (OperationalError, RedisError, AMQPError, WorkerLostError, TimeLimitExceeded)
CHATTY_LOGGERS = ("celery.worker.strategy", "celery.app.trace", "celery.worker.consumer.connection")


def set_up(settings: Settings) -> None:
    """Set up logging for the parent and, as it is forked, for the child."""
    logs.set_up(settings.log_format, settings.log_level, foreseen=FORESEEN, is_foreseen=is_outage)
    signals.setup_logging.connect(_keep_ours, weak=False)  # with a receiver Celery sets up nothing itself
    celery_worker.safe_say = _say
    logging.getLogger("py.warnings").addFilter(_matters)
    logging.getLogger("celery.worker.request").addFilter(_unwrapped)
    if settings.log_level != "DEBUG":
        for name in CHATTY_LOGGERS:  # two lines a task from Celery say nothing about units
            logging.getLogger(name).setLevel(logging.WARNING)


def _keep_ours(**_signal: Any) -> None:
    """The pool's own logger, which says how a child ended, must reach ours; Celery has just made it anew."""
    pool = billiard.get_logger()
    pool.propagate = True
    pool.setLevel(logging.ERROR)


def _say(message: str, _file: object = None) -> None:
    """What Celery writes to stdout past every logger. It does so in signal handlers, which must not wait for a lock."""
    threading.Thread(target=log.info, args=(message,), name="say").start()


def _matters(record: logging.LogRecord) -> bool:
    """Celery announces, at each lost connection, a change of a default that is set here: broker.app."""
    return "CPendingDeprecationWarning" not in record.getMessage()


def _unwrapped(record: logging.LogRecord) -> bool:
    """What ended a task, instead of the pool's wrapper of it, whose only content is a traceback."""
    error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
    if isinstance(error, ExceptionWithTraceback):
        record.exc_info = (type(error.exc), error.exc, error.exc.__traceback__)
    return True
