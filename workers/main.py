"""The worker process: a Celery parent that never touches torch, and one child that computes."""

import logging
import os
import signal
import socket
import sys
import warnings
from types import FrameType
from typing import Any

from celery import signals
from celery.exceptions import SecurityWarning

from broker.app import make_celery, queues_of, transport
from core.errors import DeepvisError
from core.live import LIVE_QUEUE
from core.settings import Settings, load_settings
from store import PictureStore
from workers import logs
from workers.credit import CreditGuard
from workers.device import kind_of, settle_device
from workers.engines import Engines, MakeEngines
from workers.metrics_server import check_metrics
from workers.reasons import report
from workers.starting import SayConnected, check_surroundings
from workers.stopping import StopFlag, ask_to_stop
from workers.tasks import Child, register

log = logging.getLogger(__name__)


def make_networks(settings: Settings, store: PictureStore) -> Engines:
    """The engines of a real worker, once its device has shown that it works. Imports torch: in the child only."""
    from workers.trial import try_device

    try_device(settings)
    from workers.networks import Networks

    return Networks(settings, store)


def run(settings: Settings, make_engines: MakeEngines = make_networks, *, live: bool = False) -> int:
    """Work until told to stop; the exit status. A live worker serves live sessions and does nothing else.

    SIGTERM and Ctrl-C finish the shard at hand within `settings.stop_seconds` or give it back.

    Raises:
        DeepvisError: the database, the picture store or the broker's address cannot be used, or metrics would be
            served to everybody.
    """
    logs.set_up(settings)
    check_metrics(settings)
    # Threads that spin while they wait for each other lose most of their time as soon as another program wants a core.
    # OpenMP reads this once, when the child loads torch.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    signal.signal(signal.SIGTERM, _end_waiting)  # Celery sets its own when it starts
    check_surroundings(settings)
    settings = settle_device(settings)
    app = make_celery(settings)
    stop = StopFlag()
    child = Child(settings, app, stop, make_engines, live=live)
    register(app, child)
    starter = _starter(child, stop)
    ender = _ender(stop, settings.stop_seconds)
    signals.worker_process_init.connect(starter, weak=False)
    signals.worker_process_shutdown.connect(child.close, weak=False)
    signals.worker_shutting_down.connect(ender, weak=False)
    # It warns of pickle, which is refused here, and names an option that is not here either.
    warnings.simplefilter("ignore", SecurityWarning)
    app.steps["consumer"].add(SayConnected)
    if transport(settings) == "redis":
        app.steps["consumer"].add(CreditGuard)
    worker = app.Worker(
        hostname=f"deepvis-{os.getpid()}@{socket.gethostname()}",
        queues=[LIVE_QUEUE] if live else list(queues_of(kind_of(settings))),
        loglevel=logging.getLevelNamesMapping()[settings.log_level],
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=not settings.celery_events,
        quiet=True,
    )
    worker.start()
    return int(worker.exitcode or stop.failed)


def _end_waiting(_number: int, _frame: FrameType | None) -> None:
    """Told to stop before there is anything to finish. As process 1, which ends by no signal of itself, too."""
    sys.exit(0)


def _starter(child: Child, stop: StopFlag) -> Any:
    def start(**_signal: Any) -> None:
        # Told by the parent through the stop flag, the child must not be ended by a signal to the whole group.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        try:
            child.start()
        except Exception as error:
            # Celery would log this and go on with a child that can do nothing.
            report("the worker cannot start", error)
            stop.note_failure()
            os.kill(os.getppid(), signal.SIGTERM)

    return start


def _ender(stop: StopFlag, stop_seconds: float) -> Any:
    def end(**_signal: Any) -> None:
        ask_to_stop(stop, stop_seconds)

    return end


def main() -> int:
    """Entry of `python -m workers.main [--live]`, with settings from the environment."""
    try:
        return run(load_settings(), live="--live" in sys.argv[1:])
    except DeepvisError as error:
        sys.stderr.write(f"deepvis worker: {error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
