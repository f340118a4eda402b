"""What a worker counts, and who may read it."""

import threading
from collections.abc import Callable

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from sqlalchemy.exc import OperationalError

from core.errors import BadCheckpoint, BadNetwork, BadSetting, NotFound, StoreUnavailable, UnknownLayer, UnknownNetwork
from core.settings import Settings
from workers import gpus
from workers.metrics import REASONS, WorkerMetrics, reason_of
from workers.metrics_server import check_metrics
from workers.stages import STAGES, StageTimes

TOKEN = "a-token-of-enough-characters"
Make = Callable[..., Settings]


class OutOfMemoryError(RuntimeError):
    """Named as torch's own."""


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (SoftTimeLimitExceeded(), "time_limit"),
        (MemoryError(), "memory"),
        (OutOfMemoryError("CUDA"), "memory"),
        (BadNetwork("no"), "network"),
        (BadCheckpoint("no"), "checkpoint"),
        (OperationalError("SELECT 1", {}, Exception("away")), "database"),
        (StoreUnavailable("full"), "store"),
        (NotFound("The store holds nothing under a."), "store"),
        (UnknownNetwork("no"), "network"),
        (UnknownLayer("no"), "network"),
        (BadSetting("DEEPVIS_DEVICE is cuda, and torch sees no CUDA device."), "setting"),
        (OSError(28, "No space left on device"), "store"),
        (RuntimeError("?"), "other"),
        (KeyError("?"), "other"),
    ],
)
def test_reasons_are_few(error: Exception, reason: str) -> None:
    assert reason_of(error) == reason
    assert reason in REASONS


def value(metrics: WorkerMetrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_a_shards_way_is_counted() -> None:
    metrics, times = WorkerMetrics(), StageTimes()
    for stage in STAGES:
        with times.stage(stage):
            pass
    metrics.computed(times)
    metrics.done(times, 32)
    metrics.failed(BadNetwork("no"))
    metrics.failed(StoreUnavailable("full"), set_back=True)
    metrics.given_back()
    metrics.lost()
    assert value(metrics, "deepvis_unit_images_total") == 32
    assert [value(metrics, "deepvis_shards_total", outcome=o) for o in ("done", "failed", "given_back", "lost")] == [
        1
    ] * 4
    assert value(metrics, "deepvis_shard_failures_total", reason="network") == 1
    assert value(metrics, "deepvis_shard_failures_total", reason="store") == 1
    assert value(metrics, "deepvis_shard_failures_total", reason="other") == 0
    assert [value(metrics, "deepvis_shard_stage_seconds_count", stage=stage) for stage in STAGES] == [1] * 6
    spent = times.seconds()
    assert value(metrics, "deepvis_worker_busy_seconds_total") == pytest.approx(spent["load"] + spent["compute"])


def test_stages_are_added_up_over_threads_and_failures() -> None:
    times, wait = StageTimes(), threading.Event()

    def encode() -> None:
        with times.stage("encode"):
            wait.wait(0.05)

    threads = [threading.Thread(target=encode) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with pytest.raises(ValueError, match="x"), times.stage("lease"):
        raise ValueError("x")
    assert list(times.seconds()) == ["lease", "encode"]
    assert 0.1 < times.seconds()["encode"] < 2


def test_a_machine_without_a_gpu_is_no_error() -> None:
    assert isinstance(gpus.read_gpus(), list)
    names = [family.name for family in gpus.GpuCollector().collect()]
    assert names == ["deepvis_gpu_memory_used_bytes", "deepvis_gpu_memory_total_bytes", "deepvis_gpu_utilisation_ratio"]


def test_gpus_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [gpus.Gpu("0", "GPU-a", "H100", 5, 80, 0.5), gpus.Gpu("1", "GPU-b", "H100", 6, 80, None)]
    monkeypatch.setattr(gpus, "read_gpus", lambda: found)
    used, total, busy = gpus.GpuCollector().collect()
    assert [(s.labels["uuid"], s.value) for s in used.samples] == [("GPU-a", 5), ("GPU-b", 6)]
    assert [s.value for s in total.samples] == [80, 80]
    assert [(s.labels["device"], s.value) for s in busy.samples] == [("0", 0.5)]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_refuses_to_be_read_by_everybody(make_settings: Make, host: str) -> None:
    with pytest.raises(BadSetting, match="DEEPVIS_METRICS_TOKEN"):
        check_metrics(make_settings(metrics_host=host, metrics_port=9357))
    check_metrics(make_settings(metrics_host=host, metrics_port=9357, metrics_token=TOKEN))
    check_metrics(make_settings(metrics_host=host))  # off


def test_refuses_a_token_that_can_be_guessed(make_settings: Make) -> None:
    with pytest.raises(BadSetting, match="shorter than 16"):
        check_metrics(make_settings(metrics_port=9357, metrics_token="secret"))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.8.8.8"])
def test_loopback_needs_no_token(make_settings: Make, host: str) -> None:
    check_metrics(make_settings(metrics_host=host, metrics_port=9357))
