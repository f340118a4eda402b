"""One activation job: lease it, have it done, store what came of it; or give it up and say why."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from core.activation_specs import ActivationKind, ActivationResult
from core.errors import Cancelled, LostLease
from db import activations as commands
from db.activations import ActivationLease, Files
from db.ids import new_token
from db.outages import is_outage
from workers.reasons import explain, is_setback, report
from workers.runtime import Runtime
from workers.troubles import Troubles

log = logging.getLogger(__name__)


class Progress(Protocol):
    """Told how far a job is; what it raises ends the work."""

    def __call__(self, done: int, total: int | None) -> None: ...


Work = Callable[[Runtime, ActivationLease, Progress], tuple[ActivationResult, Files]]


def run_job(runtime: Runtime, job_id: str) -> None:
    """Do a job if it still waits; nothing is raised for a failure, the database notes it."""
    settings, token = runtime.settings, new_token()
    lease = runtime.ledger.patiently(
        f"leasing activations {job_id}",
        lambda s: commands.begin(s, job_id, token, settings.lease_seconds, settings.max_attempts),
    )
    if lease is None:
        log.info("activations %s: nothing to do here (ended, or another worker has them)", job_id)
        return
    try:
        _do(runtime, lease)
    except BaseException as error:
        _give_up(runtime, lease, error)


def _do(runtime: Runtime, lease: ActivationLease) -> None:
    start = time.monotonic()
    log.info("%s of %s begins, attempt %d", lease.spec.kind, lease.network.name, lease.attempt)
    with kept(runtime, lease) as keeper:
        result, files = _work(lease.spec.kind)(runtime, lease, keeper.progress)
        runtime.ledger.patiently("storing activations", lambda s: commands.finish(s, lease, result, files))
    log.info("%s done in %.1f s: %d frames", lease.spec.kind, time.monotonic() - start, result.frames)


def _work(kind: ActivationKind) -> Work:
    from workers.picture_view import look_at_picture
    from workers.recording import record

    return look_at_picture if kind is ActivationKind.PICTURE else record


def _give_up(runtime: Runtime, lease: ActivationLease, error: BaseException) -> None:
    ledger, job_id = runtime.ledger, lease.job_id
    if isinstance(error, LostLease):
        log.info("activations %s: %s", job_id, error)
        return
    stopped = not isinstance(error, Exception) or isinstance(error, Cancelled)
    if stopped or is_outage(error) or is_setback(error):
        log.info("activations %s are left to others: %s", job_id, type(error).__name__)
        ledger.patiently(f"leaving {job_id}", lambda s: commands.leave(s, lease))
        if not isinstance(error, Exception):  # the process is being ended
            raise error
        return
    assert isinstance(error, Exception)  # noqa: S101  # what else there is was left above
    report(f"activations {job_id} failed", error)
    runtime.engines.clear()  # memory may be what was missing
    reason = explain(error)
    ledger.patiently(f"noting {job_id}", lambda s: commands.fail(s, lease, reason))


# --- the lease --------------------------------------------------------------------------


class Keeper(threading.Thread):
    """Keeps a lease while its work goes on; work that shows no progress for too long loses it."""

    def __init__(self, runtime: Runtime, lease: ActivationLease) -> None:
        super().__init__(name="activations", daemon=True)
        self._runtime = runtime
        self._lease = lease
        self._done: tuple[int, int | None] = (0, None)
        self._moved_at = time.monotonic()
        self._lost = False
        self._over = threading.Event()
        self._troubles = Troubles()

    def progress(self, done: int, total: int | None) -> None:
        """Note how far the work is.

        Raises:
            LostLease: it is in vain: the job was cancelled or deleted, or somebody else does it.
            Cancelled: the worker is stopping.
        """
        self._done, self._moved_at = (done, total), time.monotonic()
        if self._lost:
            raise LostLease("It was cancelled, or somebody else does it.")
        if self._runtime.stop.deadline is not None:
            raise Cancelled("The worker is stopping.")

    def run(self) -> None:
        every = min(1.0, self._runtime.settings.heartbeat_seconds)
        while not self._over.wait(every) and not self._lost:
            if time.monotonic() - self._moved_at < self._runtime.settings.stall_seconds:
                self._troubles.attempt("keeping a lease", self._renew)

    def stop(self) -> None:
        """End the thread."""
        self._over.set()
        self.join()

    def _renew(self) -> None:
        (done, total), seconds = self._done, self._runtime.settings.lease_seconds
        with self._runtime.ledger.sessions.begin() as session:
            self._lost = not commands.renew(session, self._lease, done, total, seconds)


@contextmanager
def kept(runtime: Runtime, lease: ActivationLease) -> Iterator[Keeper]:
    """Keep the lease while the block runs."""
    keeper = Keeper(runtime, lease)
    runtime.doing = f"{lease.spec.kind} {lease.job_id} of {lease.network.name}"
    keeper.start()
    try:
        yield keeper
    finally:
        keeper.stop()
        runtime.doing = ""
