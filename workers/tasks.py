"""The tasks: an id in, nothing out, nothing raised. The database holds every outcome."""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from celery import Celery

from broker import messages
from core.logs import log_context
from core.settings import Settings
from db.outages import is_outage
from workers.engines import MakeEngines
from workers.reasons import first_line
from workers.stopping import StopFlag

if TYPE_CHECKING:
    from workers.runtime import Runtime

log = logging.getLogger(__name__)


class Child:
    """Holds what the pool's child works with; the parent makes it, and never starts it."""

    def __init__(
        self, settings: Settings, celery: Celery, stop: StopFlag, make_engines: MakeEngines, *, live: bool = False
    ) -> None:
        self._settings = settings
        self._celery = celery
        self._stop = stop
        self._make_engines = make_engines
        self._live = live
        self._runtime: Runtime | None = None

    @property
    def runtime(self) -> "Runtime":
        if self._runtime is None:
            raise RuntimeError("The runtime is used before the child has started it.")
        return self._runtime

    def start(self, **_signal: Any) -> None:
        """Import torch and start the background threads (signal worker_process_init)."""
        from workers.runtime import Runtime

        self._runtime = Runtime(self._settings, self._celery, self._stop, self._make_engines, live=self._live)
        self._runtime.start()

    def close(self, **_signal: Any) -> None:
        """Flush and end them (signal worker_process_shutdown)."""
        if self._runtime is not None:
            self._runtime.close()


def register(app: Celery, child: Child) -> None:
    """Define the tasks on `app`, to be run in `child`."""

    @app.task(name=messages.DESCRIBE)  # type: ignore[untyped-decorator]
    def describe(network_name: str) -> None:
        from workers.control import describe_network

        _run(lambda: describe_network(child.runtime, network_name), f"describing {network_name}")

    @app.task(name=messages.PLAN)  # type: ignore[untyped-decorator]
    def plan(atlas_id: str) -> None:
        from workers.control import plan_atlas

        with log_context(atlas=atlas_id):
            _run(lambda: plan_atlas(child.runtime, atlas_id), f"planning {atlas_id}")

    @app.task(name=messages.SEARCH)  # type: ignore[untyped-decorator]
    def search(search_id: str) -> None:
        from workers.searching import answer_search

        _run(lambda: answer_search(child.runtime, search_id), f"search {search_id}")

    @app.task(name=messages.SHARD)  # type: ignore[untyped-decorator]
    def shard(shard_id: int) -> None:
        from workers.shards import run_shard

        with log_context(shard=shard_id):
            _run(lambda: run_shard(child.runtime, shard_id), f"shard {shard_id}")

    @app.task(name=messages.ACTIVATIONS)  # type: ignore[untyped-decorator]
    def activations(job_id: str) -> None:
        from workers.activations import run_job

        with log_context(activations=job_id):
            _run(lambda: run_job(child.runtime, job_id), f"activations {job_id}")

    @app.task(name=messages.LIVE)  # type: ignore[untyped-decorator]
    def live(session_id: str) -> None:
        from workers.live import serve

        _run(lambda: serve(child.runtime), f"live session {session_id} and whoever else waits")


def _run(work: Callable[[], None], what: str) -> None:
    """Do it; what goes wrong here could not be told to the database, and must not end the worker either."""
    try:
        work()
    except Exception as error:
        if is_outage(error):
            log.warning("%s: left for later, the database cannot be reached: %s", what, first_line(error))
        else:
            log.exception("%s: given up; it will be tried again when its lease runs out", what)
