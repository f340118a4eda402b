"""The worker process: a Celery parent that never touches torch, and one child that computes."""

import logging
import os
import signal
import socket
import sys
import time
import warnings
from typing import Any

from celery import signals
from celery.exceptions import SecurityWarning
from sqlalchemy.exc import DBAPIError

from broker.app import make_celery, queues_of, transport
from core.errors import BadSetting, DeepvisError
from core.settings import Settings, load_settings
from db.session import check_schema, make_engine
from store import PictureStore
from workers.credit import CreditGuard
from workers.device import kind_of, settle_device
from workers.engines import Engines, MakeEngines
from workers.stopping import StopFlag, ask_to_stop
from workers.tasks import Child, register

log = logging.getLogger(__name__)

DATABASE_PATIENCE_SECONDS = 60.0
CHATTY_LOGGERS = ("celery.worker.strategy", "celery.app.trace", "celery.worker.consumer.connection")


def make_networks(settings: Settings, store: PictureStore) -> Engines:
    """The engines of a real worker. Imports torch: in the child only."""
    from workers.networks import Networks

    return Networks(settings, store)


def run(settings: Settings, make_engines: MakeEngines = make_networks) -> int:
    """Work until told to stop; the exit status.

    SIGTERM and Ctrl-C finish the shard at hand within `settings.stop_seconds` or give it back.

    Raises:
        BadSetting: the database or the broker's address cannot be used.
    """
    # Threads that spin while they wait for each other lose most of their time as soon as another program wants a core.
    # OpenMP reads this once, when the child loads torch.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    wait_for_database(settings)
    settings = settle_device(settings)
    app = make_celery(settings)
    stop = StopFlag()
    child = Child(settings, app, stop, make_engines)
    register(app, child)
    starter = _starter(child, stop)
    ender = _ender(stop, settings.stop_seconds)
    signals.worker_process_init.connect(starter, weak=False)
    signals.worker_process_shutdown.connect(child.close, weak=False)
    signals.worker_shutting_down.connect(ender, weak=False)
    _quieten(settings)
    # It warns of pickle, which is refused here, and names an option that is not here either.
    warnings.simplefilter("ignore", SecurityWarning)
    if transport(settings) == "redis":
        app.steps["consumer"].add(CreditGuard)
    worker = app.Worker(
        hostname=f"deepvis-{os.getpid()}@{socket.gethostname()}",
        queues=list(queues_of(kind_of(settings))),
        loglevel=logging.getLevelNamesMapping()[settings.log_level],
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        quiet=True,
    )
    worker.start()
    return int(worker.exitcode or stop.failed)


def wait_for_database(settings: Settings) -> None:
    """Return once the database answers and has this version's tables; nothing of it is kept open.

    Raises:
        BadSetting: it does not for a minute, or its tables are not this version's.
    """
    deadline = time.monotonic() + DATABASE_PATIENCE_SECONDS
    while True:
        engine = make_engine(settings.resolved_database_url)
        try:
            check_schema(engine)
        except BadSetting as error:
            if not isinstance(error.__cause__, DBAPIError) or time.monotonic() > deadline:
                raise
            log.warning("waiting for the database: %s", error.detail)
            time.sleep(2)
        else:
            return
        finally:
            engine.dispose()


def _starter(child: Child, stop: StopFlag) -> Any:
    def start(**_signal: Any) -> None:
        # Told by the parent through the stop flag, the child must not be ended by a signal to the whole group.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        try:
            child.start()
        except Exception:
            # Celery would log this and go on with a child that can do nothing.
            log.exception("the worker cannot start")
            stop.note_failure()
            os.kill(os.getppid(), signal.SIGTERM)

    return start


def _ender(stop: StopFlag, stop_seconds: float) -> Any:
    def end(**_signal: Any) -> None:
        ask_to_stop(stop, stop_seconds)

    return end


def _quieten(settings: Settings) -> None:
    """Leave the log to what this worker says: two lines a task from Celery say nothing about units."""
    if settings.log_level != "DEBUG":
        for name in CHATTY_LOGGERS:
            logging.getLogger(name).setLevel(logging.WARNING)


def main() -> int:
    """Entry of `python -m workers.main`, with settings from the environment."""
    try:
        return run(load_settings())
    except DeepvisError as error:
        sys.stderr.write(f"deepvis worker: {error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
