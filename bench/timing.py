"""Timing on machines that are shared and noisy: medians of steps, ratios side by side."""

import os
import platform
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime

import torch


class StepClock:
    """Collects the times at which steps begin; give `tick` as an ascent's callback."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def tick(self, _: object = None) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.times.append(time.perf_counter())

    def seconds(self) -> float:
        """Median seconds of a step."""
        gaps = [b - a for a, b in zip(self.times, self.times[1:], strict=False)]
        return statistics.median(gaps)


def median_seconds(run: Callable[[], object], repeats: int) -> float:
    """Median seconds of a call, after one that is not counted."""
    clock = StepClock()
    run()
    for _ in range(repeats):
        clock.tick()
        run()
    clock.tick()
    return clock.seconds()


def heading(title: str) -> None:
    """What was measured, where and when."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    load = os.getloadavg()[0]
    print(
        f"\n## {title}\n{when}, {device}, {torch.get_num_threads()} threads, torch {torch.__version__}, load {load:.1f}"
    )
