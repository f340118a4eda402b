"""How filling a probe set goes: a line that changes on a terminal, one now and then elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from cli.answers import AddedAnswer

LINE_SECONDS = 10.0


@contextmanager
def counting() -> Iterator[Callable[[AddedAnswer], None]]:
    """What is to be called with what became of some files, each time; it says how many that makes."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _counter(_lines())
        return
    with console.status("reading") as status:
        yield _counter(status.update)


def _counter(say: Callable[[str], None]) -> Callable[[AddedAnswer], None]:
    sums, began = AddedAnswer(), time.monotonic()

    def show(added: AddedAnswer) -> None:
        nonlocal sums
        sums = AddedAnswer(**{name: value + getattr(added, name) for name, value in sums})
        say(_words(sums, time.monotonic() - began))

    return show


def _words(sums: AddedAnswer, seconds: float) -> str:
    counts = {"known from before": sums.repeated, "duplicates": sums.duplicates, "skipped": sums.skipped}
    files = sum(value for _, value in sums)
    said = [f"{sums.images} images", *(f"{count} {what}" for what, count in counts.items() if count)]
    return ", ".join([*said, f"{files / max(seconds, 1e-3):.0f} files/s"])


def _lines() -> Callable[[str], None]:
    said_at = -LINE_SECONDS

    def say(text: str) -> None:
        nonlocal said_at
        if time.monotonic() - said_at >= LINE_SECONDS:
            click.echo(text, err=True)
            said_at = time.monotonic()

    return say
