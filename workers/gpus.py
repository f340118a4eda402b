"""Memory and utilisation of NVIDIA GPUs, asked for whenever somebody reads the metrics; nothing where there is none."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import pynvml
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

LABELS = ("device", "uuid", "name")


@dataclass(frozen=True)
class Gpu:
    """One device as its driver sees it, whoever uses it. Memory is in bytes; `utilisation` is 0..1, None: not told."""

    device: str
    uuid: str
    name: str
    memory_used: int
    memory_total: int
    utilisation: float | None

    @property
    def labels(self) -> tuple[str, str, str]:
        return self.device, self.uuid, self.name


def read_gpus() -> list[Gpu]:
    """Every GPU that the driver shows to this process; none where there is no driver, or it does not answer."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        return [_read(number) for number in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError:
        return []
    finally:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _read(number: int) -> Gpu:
    handle = pynvml.nvmlDeviceGetHandleByIndex(number)
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    return Gpu(
        device=str(number),
        uuid=_text(pynvml.nvmlDeviceGetUUID(handle)),
        name=_text(pynvml.nvmlDeviceGetName(handle)),
        memory_used=int(memory.used),
        memory_total=int(memory.total),
        utilisation=_utilisation(handle),
    )


def _utilisation(handle: object) -> float | None:
    """A slice of a GPU (MIG) has none of its own."""
    try:
        return float(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu) / 100
    except pynvml.NVMLError:
        return None


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


class GpuCollector(Collector):
    """Gauges of `read_gpus`."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        used = GaugeMetricFamily("deepvis_gpu_memory_used_bytes", "Memory in use on the GPU", labels=LABELS)
        total = GaugeMetricFamily("deepvis_gpu_memory_total_bytes", "Memory of the GPU", labels=LABELS)
        busy = GaugeMetricFamily("deepvis_gpu_utilisation_ratio", "Share of time that the GPU worked", labels=LABELS)
        for gpu in read_gpus():
            used.add_metric(gpu.labels, gpu.memory_used)
            total.add_metric(gpu.labels, gpu.memory_total)
            if gpu.utilisation is not None:
                busy.add_metric(gpu.labels, gpu.utilisation)
        yield from (used, total, busy)
