"""Following an atlas: a live bar on a terminal, a line now and then elsewhere."""

import contextlib
import time
from collections.abc import Callable, Iterator

import click

from cli.answers import AtlasAnswer, Failure
from cli.client import Client
from cli.texts import duration

POLL_SECONDS = 0.5
LINE_SECONDS = 10.0
Show = Callable[[AtlasAnswer], None]


def follow(client: Client, atlas_id: str, wait: Callable[[float], None]) -> AtlasAnswer:
    """Show the progress of an atlas until it ends; `wait(seconds)` sleeps between two looks and may raise."""
    with _display() as show:
        while True:
            atlas = client.atlas(atlas_id)
            show(atlas)
            if atlas.finished:
                return atlas
            wait(POLL_SECONDS)


def show_result(client: Client, atlas: AtlasAnswer) -> None:
    """Say how the atlas ended, name what failed, and where to look at it."""
    for failure in atlas.failures:
        click.echo(f"Failed: {_what(failure)}: {failure.error}", err=True)
    if atlas.error:
        click.echo(f"Failed: {atlas.error}", err=True)
    if atlas.unread_images:
        click.echo(
            f"Left out: {atlas.unread_images} images of the probe set that could not be read or have changed; "
            "`deepvis probe show SET` says which.",
            err=True,
        )
    click.echo(f"Atlas     {atlas.id} of {atlas.network}: {atlas.state.replace('_', ' ')}")
    click.echo(f"Gallery   {client.url}/atlases/{atlas.id}")


def _what(failure: Failure) -> str:
    if failure.first_image is not None:
        return f"images {failure.first_image}-{failure.last_image} of the probe set"
    units = f"units {min(failure.units)}-{max(failure.units)}" if failure.units else "all units"
    return f"{failure.layer or 'all layers'}, {units}"


@contextlib.contextmanager
def _display() -> Iterator[Show]:
    from rich.console import Console

    console = Console(stderr=True)
    if console.is_terminal:
        with _bar(console) as show:
            yield show
    else:
        yield _lines()


@contextlib.contextmanager
def _bar(console: object) -> Iterator[Show]:
    from rich import progress as parts

    columns = (
        parts.TextColumn("{task.description}"),
        parts.BarColumn(bar_width=None),
        parts.TextColumn("{task.fields[counts]}"),
    )
    with parts.Progress(*columns, console=console, expand=True) as bar:  # type: ignore[arg-type]  # a rich Console
        task = bar.add_task("waiting", total=None, counts="")

        def show(atlas: AtlasAnswer) -> None:
            total = atlas.progress.images or None
            done = atlas.progress.images_done
            bar.update(task, description=_phase(atlas), total=total, completed=done, counts=_counts(atlas))

        yield show


def _lines() -> Show:
    shown, shown_at = "", -LINE_SECONDS

    def show(atlas: AtlasAnswer) -> None:
        nonlocal shown, shown_at
        text, now = f"{_phase(atlas)} {_counts(atlas)}".strip(), time.monotonic()
        if text != shown and (atlas.finished or now - shown_at >= LINE_SECONDS):
            click.echo(text, err=True)
            shown, shown_at = text, now

    return show


def _phase(atlas: AtlasAnswer) -> str:
    return {"queued": "waiting for a worker", "planning": "planning"}.get(atlas.state, atlas.network)


def _counts(atlas: AtlasAnswer) -> str:
    """Like "120 of 400 pictures, 3.1/s, 1 min 30 s left"; empty before there is a plan."""
    progress = atlas.progress
    if not progress.images:
        return ""
    counts = [f"{progress.images_done} of {progress.images} pictures"]
    if progress.images_per_second and not atlas.finished:
        counts += [f"{progress.images_per_second:.2g}/s", f"{duration(progress.seconds_left)} left"]
    return ", ".join(counts)
