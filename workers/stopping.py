"""How a worker stops: the parent says by when, the child sees to it.

Celery's warm shutdown waits for the running task, however long it takes; its soft shutdown sleeps for a fixed time and
then kills the child. Here the parent writes a deadline into memory it shares with its child and shuts down warmly; the
child finishes its shard if that takes no longer, else gives it back at once: see
docs/decisions/workers-stop-by-a-shared-deadline.md.
"""

import logging
import mmap
import os
import signal
import struct
import threading
import time
from contextlib import suppress

import billiard

log = logging.getLogger(__name__)

STUCK_SECONDS = 20.0
"""A child that has not ended this long after the deadline is stuck; its leases will expire by themselves."""


class StopFlag:
    """The time by which to stop, and whether because of a failure; shared with every process forked afterwards."""

    _FORMAT = struct.Struct("d?")

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, self._FORMAT.size)

    def set(self, deadline: float) -> None:
        """Ask to stop by `deadline` (`time.monotonic()`, which the machine's processes share)."""
        self._FORMAT.pack_into(self._memory, 0, deadline, self.failed)

    @property
    def deadline(self) -> float | None:
        """The time by which to stop, or None: go on."""
        value: float = self._FORMAT.unpack_from(self._memory, 0)[0]
        return value or None

    def note_failure(self) -> None:
        """Say, before asking the parent to stop, that the child could not start."""
        self._FORMAT.pack_into(self._memory, 0, self.deadline or 0.0, True)

    @property
    def failed(self) -> bool:
        """Whether the child could not start: the worker's exit status says so."""
        return bool(self._FORMAT.unpack_from(self._memory, 0)[1])

    def leaves_time_for(self, seconds: float) -> bool:
        """Whether work that takes `seconds` more may still be done."""
        return self.deadline is None or time.monotonic() + seconds <= self.deadline


def ask_to_stop(flag: StopFlag, stop_seconds: float) -> None:
    """In the parent, on the first signal to stop: tell the child, and make sure that this process ends."""
    if flag.deadline is None:
        flag.set(time.monotonic() + max(stop_seconds, 0.001))
        guard = threading.Timer(stop_seconds + STUCK_SECONDS, _end_stuck)
        guard.daemon = True
        guard.start()


def _end_stuck() -> None:
    """Leave no child: it ignores the signals to stop. On Linux it dies with its parent anyhow, Celery sees to that."""
    log.critical("the worker's child did not stop in time; killing it")
    for child in billiard.active_children():
        with suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL)
    os._exit(1)
