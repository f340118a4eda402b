"""What GET /metrics tells: the service by its database, and the requests to this process; docs/watching.md lists it."""

import logging
import threading
import time
from collections.abc import Iterable, Iterator
from importlib.metadata import version

from apiflask import APIFlask
from flask import Response, g, request
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from api.services import Services
from db.queries.metrics import ServiceNumbers, read_numbers
from db.queries.service import SHOWN_SECONDS

log = logging.getLogger(__name__)

EXTENSION = "deepvis_metrics"
KEPT_SECONDS = 5.0
"""The database is asked at most this often, whoever reads the metrics."""
DEVICE_KINDS = ("cpu", "gpu")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


def register(app: APIFlask, parts: Services) -> None:
    """Count the requests to `app`, and make the registry that `/metrics` shows."""
    disable_created_metrics()  # type: ignore[no-untyped-call]  # series of when each began: nobody needs them
    app.extensions[EXTENSION] = registry = CollectorRegistry()
    Info("deepvis_build", "The version of this server", registry=registry).info({"version": version("deepvis")})
    ProcessCollector(registry=registry)
    registry.register(DatabaseCollector(parts.sessions, parts.settings.alive_seconds))
    RequestMetrics(registry).watch(app)


# --- requests to this process -----------------------------------------------------------


class RequestMetrics:
    """Counts requests by view. The seconds of one that is streamed are those until its first byte."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "deepvis_http_requests", "Requests answered", ["endpoint", "method", "status"], registry=registry
        )
        self._seconds = Histogram(
            "deepvis_http_request_seconds",
            "Time to an answer",
            ["endpoint", "method"],
            registry=registry,
            buckets=BUCKETS,
        )

    def watch(self, app: APIFlask) -> None:
        """Count from now on; before any other check, so that what those refuse is counted too."""
        app.before_request(self.begin)
        app.after_request(self.end)

    def begin(self) -> None:
        """Note when the request came."""
        g.began = time.perf_counter()

    def end(self, response: Response) -> Response:
        """Count the answer. Whatever a client sends, the series stay few: one for a view, method and status."""
        endpoint = request.endpoint or "none"
        method = request.method if request.method in METHODS else "other"
        self._requests.labels(endpoint, method, response.status_code).inc()
        self._seconds.labels(endpoint, method).observe(time.perf_counter() - g.began)
        return response


# --- the database -------------------------------------------------------------------------


class DatabaseCollector(Collector):
    """Gauges of `db.queries.metrics`, read anew when what is kept is older than `KEPT_SECONDS`."""

    def __init__(self, sessions: sessionmaker[Session], alive_seconds: float) -> None:
        self._sessions = sessions
        self._alive_seconds = alive_seconds
        self._lock = threading.Lock()
        self._kept: ServiceNumbers | None = None
        self._read_at = -KEPT_SECONDS

    def collect(self) -> Iterator[Metric]:
        numbers = self._numbers()
        yield _gauge("deepvis_database_up", "Whether the database answered", numbers is not None)
        if numbers is not None:
            yield from _queue(numbers)
            yield from _atlases(numbers)
            yield from _workers(numbers)

    def describe(self) -> Iterable[Metric]:
        """Nothing, so that registering it does not ask the database."""
        return ()

    def _numbers(self) -> ServiceNumbers | None:
        with self._lock:
            if time.monotonic() - self._read_at >= KEPT_SECONDS:
                self._kept, self._read_at = self._read(), time.monotonic()
            return self._kept

    def _read(self) -> ServiceNumbers | None:
        try:
            with self._sessions() as session:
                return read_numbers(session, alive_seconds=self._alive_seconds, shown_seconds=SHOWN_SECONDS)
        except SQLAlchemyError:
            log.warning("no metrics of the database", exc_info=True)
            return None


def _gauge(name: str, about: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, about, value=float(value))


def _queue(numbers: ServiceNumbers) -> Iterator[Metric]:
    depth = GaugeMetricFamily(
        "deepvis_queue_shards", "Shards that wait or run", labels=["state", "device_kind", "priority"]
    )
    for queue in numbers.queue:
        for state, count in (("pending", queue.pending), ("running", queue.running)):
            depth.add_metric([state, queue.device_kind, queue.priority], count)
    yield depth
    about = "Since the oldest atlas with waiting shards was planned; 0: nothing waits"
    yield _gauge("deepvis_queue_oldest_pending_seconds", about, numbers.oldest_pending_seconds)
    about = "Since any atlas with waiting shards got on; 0: nothing waits"
    yield _gauge("deepvis_queue_idle_seconds", about, numbers.idle_seconds)


def _atlases(numbers: ServiceNumbers) -> Iterator[Metric]:
    atlases = GaugeMetricFamily("deepvis_atlases", "Atlases by state", labels=["state"])
    for state, count in numbers.atlases.items():
        atlases.add_metric([state], count)
    yield atlases
    yield _gauge("deepvis_atlases_unplanned", "Atlases without a plan yet", numbers.unplanned)
    yield _gauge("deepvis_failed_shards", "Shards given up, of all atlases", numbers.failed_shards)


def _workers(numbers: ServiceNumbers) -> Iterator[Metric]:
    alive = GaugeMetricFamily("deepvis_workers_alive", "Workers that live", labels=["device_kind"])
    for kind in DEVICE_KINDS:
        alive.add_metric([kind], numbers.alive(kind))
    yield alive
    images = CounterMetricFamily(
        "deepvis_worker_images", "Unit-images committed by a worker since it started", labels=["worker", "host"]
    )
    busy = CounterMetricFamily(
        "deepvis_worker_picture_seconds", "Computing time of what it committed", labels=["worker", "host"]
    )
    for worker in numbers.workers:
        images.add_metric([worker.id, worker.host], worker.images_done)
        busy.add_metric([worker.id, worker.host], worker.busy_seconds)
    yield from (images, busy)
