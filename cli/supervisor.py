"""Child processes that start, are watched and end together."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from cli.logs import LogTail, last_lines, open_log
from core.errors import NotReady

POLL_SECONDS = 0.1
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_TETHER = str(Path(__file__).with_name("tether.py"))


class PartEnded(NotReady):
    """A child process ended although nobody asked it to."""

    slug, title = "part-ended", "A part of the service ended"


class StopRequested(Exception):  # it is a wish, not an error
    """Somebody asked us to stop: Ctrl-C or a signal."""


@dataclass(frozen=True)
class Child:
    """A running child, the leader of its own process group; `grace_seconds` is what it may take to end by itself."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    tail: LogTail
    grace_seconds: float


class Supervisor:
    """Starts children, notices when one ends, and stops all of them on the way out, the last started first.

    Signals only leave a note, which `check` turns into `StopRequested`: no exception ever arrives in the middle of
    starting or stopping. A second signal while stopping kills at once.
    """

    def __init__(self, log_folder: Path, *, verbose: bool = False) -> None:
        self._log_folder = log_folder
        self._verbose = verbose
        self._children: list[Child] = []
        self._signals = 0
        self._handlers: dict[int, object] = {}

    def __enter__(self) -> Self:
        self._handlers = {s: signal.signal(s, self._note) for s in STOP_SIGNALS}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        already = self._signals
        for child in reversed(self._children):
            self._stop(child, already)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what signal.signal itself returned

    def start(
        self,
        name: str,
        command: Sequence[str],
        env: Mapping[str, str],
        *,
        grace_seconds: float = 10.0,
        warnings: bool = True,
    ) -> Child:
        """Start `command` in a process group of its own (a terminal's Ctrl-C reaches us alone), output to its log.

        `grace_seconds` is what it may take to end by itself; `warnings` says whether those in its log are shown.
        """
        log = self._log_folder / f"{name}.log"
        with open_log(log) as output:
            start = log.stat().st_size
            tethered = [sys.executable, "-I", "-S", _TETHER, str(os.getpid()), *command]
            process = subprocess.Popen(  # noqa: S603  # our own commands, as lists, through no shell
                tethered, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=env, start_new_session=True
            )
        tail = LogTail(name, log, start, warnings=warnings, everything=self._verbose)
        child = Child(name, process, log, tail, grace_seconds)
        self._children.append(child)
        return child

    def check(self) -> None:
        """Show news from the logs.

        Raises:
            StopRequested: a signal came.
            PartEnded: a child has ended; its last log lines are in the message.
        """
        if self._signals:
            raise StopRequested
        for child in self._children:
            child.tail.show()
            if (status := child.process.poll()) is not None:
                raise PartEnded(_ended(child, status), f"The whole log is in {child.log}.")

    def wait(self, seconds: float) -> None:
        """Sleep for `seconds`, checking all the while."""
        until = time.monotonic() + seconds
        self.check()
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(POLL_SECONDS, left))
            self.check()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._signals += 1

    def _stop(self, child: Child, already: int) -> None:
        if child.process.poll() is None:
            child.process.terminate()
        until = time.monotonic() + child.grace_seconds
        while child.process.poll() is None and time.monotonic() < until and self._signals <= already:
            time.sleep(POLL_SECONDS / 2)
        _kill_group(child.process)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of the process's group (children that outlived their leader too) and reap the leader."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _ended(child: Child, status: int) -> str:
    how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with exit status {status}"
    return "\n".join([f"The {child.name} {how}. The end of its log:", *last_lines(child.log, 15)])
