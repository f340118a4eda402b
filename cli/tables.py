"""Tables and JSON on standard output."""

import json
from collections.abc import Collection, Sequence

import click

WIDE_COLUMNS = 10_000


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, right: Collection[str] = ()) -> None:
    """Print `rows` under `head`; columns named in `right` are aligned right. Never cut when piped into a program."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDE_COLUMNS
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for title in head:
        table.add_column(title, justify="right" if title in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)


def print_json(value: object) -> None:
    """Print `value` as indented JSON."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))
