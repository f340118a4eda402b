"""Following activations: a live bar on a terminal, a line now and then elsewhere."""

import contextlib
import time
from collections.abc import Callable, Iterator

import click

from cli.answers import JobAnswer
from cli.client import Client
from cli.progress import LINE_SECONDS, POLL_SECONDS

Show = Callable[[JobAnswer], None]
GROUPS = {"picture": "activations", "recording": "recordings"}
COUNTED = {"picture": "layers", "recording": "frames"}


def follow_job(client: Client, job: JobAnswer, wait: Callable[[float], None]) -> JobAnswer:
    """Show the progress of a job until it ends; `wait(seconds)` sleeps between two looks and may raise."""
    with _display() as show:
        while True:
            show(job)
            if job.finished:
                return job
            wait(POLL_SECONDS)
            job = client.job(GROUPS[job.kind], job.id)


def words(job: JobAnswer) -> str:
    """Like "120 of 400 frames"; what it waits for while it does."""
    if job.state == "queued":
        return "waiting for a worker"
    of = f" of {job.total}" if job.total else ""
    return f"{job.done}{of} {COUNTED[job.kind]}"


@contextlib.contextmanager
def _display() -> Iterator[Show]:
    from rich.console import Console

    console = Console(stderr=True)
    if console.is_terminal:
        with console.status("") as status:
            yield lambda job: status.update(f"{job.network}: {words(job)}")
    else:
        yield _lines()


def _lines() -> Show:
    shown, shown_at = "", -LINE_SECONDS

    def show(job: JobAnswer) -> None:
        nonlocal shown, shown_at
        text, now = words(job), time.monotonic()
        if text != shown and (job.finished or now - shown_at >= LINE_SECONDS):
            click.echo(text, err=True)
            shown, shown_at = text, now

    return show
