"""How long a shard spends in each stage of its way."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

Stage = Literal["lease", "load", "compute", "encode", "store", "commit"]
STAGES: tuple[Stage, ...] = ("lease", "load", "compute", "encode", "store", "commit")
"""In their order. Loading is nothing while the network stays; encoding and storing go on beside computing."""


class StageTimes:
    """The seconds of one shard by stage. Several threads encode and store: theirs are added up."""

    def __init__(self) -> None:
        self._seconds: dict[Stage, float] = {}
        self._lock = threading.Lock()

    @contextmanager
    def stage(self, name: Stage) -> Iterator[None]:
        """Count the time that the block takes, also if it fails."""
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - start
            with self._lock:
                self._seconds[name] = self._seconds.get(name, 0.0) + spent

    def seconds(self) -> dict[Stage, float]:
        """What was counted so far, in the order of the stages."""
        with self._lock:
            return {name: self._seconds[name] for name in STAGES if name in self._seconds}
