"""What a worker counts, in the form that Prometheus reads; docs/watching.md lists it."""

from celery.exceptions import SoftTimeLimitExceeded
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)

from core.errors import BadCheckpoint, BadNetwork, BadSetting, NotFound, StoreUnavailable, UnknownLayer, UnknownNetwork
from db.outages import OUTAGES
from workers.gpus import GpuCollector
from workers.stages import STAGES, StageTimes

OUTCOMES = ("done", "failed", "set_back", "given_back", "lost")
"""Of a try at a shard: committed; failed; set back by what is around it (store, database), which does not count;
given back unfinished; finished after its lease was somebody else's."""
_KINDS: tuple[tuple[str, tuple[type[BaseException], ...]], ...] = (
    ("time_limit", (SoftTimeLimitExceeded,)),
    ("memory", (MemoryError,)),
    ("network", (BadNetwork, UnknownNetwork, UnknownLayer)),
    ("checkpoint", (BadCheckpoint,)),
    ("database", OUTAGES),
    ("setting", (BadSetting,)),
    ("store", (StoreUnavailable, NotFound, OSError)),
)
REASONS = (*(reason for reason, _ in _KINDS), "other")
"""Why a try failed, in few words that do not grow; the log and the shard's row have the whole sentence."""
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 900.0)


class WorkerMetrics:
    """The counters of one worker process, in a registry of its own."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # series of when each began: nobody needs them
        self.registry = CollectorRegistry()
        r = self.registry
        self._info = Info("deepvis_worker", "What this worker is", registry=r)
        self._images = Counter("deepvis_unit_images", "Unit-images committed", registry=r)
        self._shards = Counter("deepvis_shards", "Tries at shards by outcome", ["outcome"], registry=r)
        self._failures = Counter(
            "deepvis_shard_failures", "Tries that failed or were set back, by reason", ["reason"], registry=r
        )
        about = "Seconds of a shard in a stage; threads that encode and store are added up"
        self._stages = Histogram("deepvis_shard_stage_seconds", about, ["stage"], registry=r, buckets=BUCKETS)
        self._busy = Counter("deepvis_worker_busy_seconds", "Seconds spent loading and computing", registry=r)
        ProcessCollector(registry=r)
        r.register(GpuCollector())
        self._show_zeros()

    def _show_zeros(self) -> None:
        """A series that begins at zero: the first failure is then a rise, which alerts look for."""
        for outcome in OUTCOMES:
            self._shards.labels(outcome)
        for reason in REASONS:
            self._failures.labels(reason)
        for stage in STAGES:
            self._stages.labels(stage)

    def introduce(self, **what: str) -> None:
        """Say what this worker is: its id, device and versions."""
        self._info.info(what)

    def computed(self, times: StageTimes) -> None:
        """A try's computing is over, however it ended."""
        spent = times.seconds()
        self._busy.inc(spent.get("load", 0.0) + spent.get("compute", 0.0))

    def done(self, times: StageTimes, images: int) -> None:
        """A shard with `images` new pictures was committed."""
        self._shards.labels("done").inc()
        self._images.inc(images)
        for stage, seconds in times.seconds().items():
            self._stages.labels(stage).observe(seconds)

    def given_back(self) -> None:
        """A shard was given back unfinished."""
        self._shards.labels("given_back").inc()

    def lost(self) -> None:
        """A finished shard could not be committed: it is somebody else's now."""
        self._shards.labels("lost").inc()

    def failed(self, error: BaseException, *, set_back: bool = False) -> None:
        """A try failed for `error`; `set_back`: it was not to blame, and does not count."""
        self._shards.labels("set_back" if set_back else "failed").inc()
        self._failures.labels(reason_of(error)).inc()


def reason_of(error: BaseException) -> str:
    """One of `REASONS`. torch's own error for memory is known by its name: this module imports no torch."""
    if any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__):
        return "memory"
    return next((reason for reason, kinds in _KINDS if isinstance(error, kinds)), "other")
