"""`deepvis store`: the picture store held against the database."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import click

from cli.parse import seconds

if TYPE_CHECKING:
    from core.settings import Settings
    from db.session import Sessions
    from store import PictureStore

MISSING_STATUS = 1


class Parts(NamedTuple):
    """What both commands work on."""

    settings: "Settings"
    sessions: "Sessions"
    store: "PictureStore"


@click.group("store")
def store_group() -> None:
    """Look after the picture store."""


@store_group.command("sweep")
@click.option("--delete", is_flag=True, help="Delete them; otherwise they are only listed.")
@click.option(
    "--older-than", "grace_seconds", callback=seconds, default="24h", show_default=True,
    help="Only what was written longer ago, like 90m, 24h or 7d.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line for programs.")
def sweep_command(delete: bool, grace_seconds: float, as_json: bool) -> None:
    """List what no row of the database names: pictures of attempts that were lost before their commit.

    Safe while workers run, who may be about to name what they stored in the last hours. Less than those hours may be
    given while none runs.
    """
    from workers.sweep import check_grace, sweep

    found = deleted = 0
    with _parts() as parts:
        if delete:
            check_grace(parts.sessions, parts.settings, grace_seconds)
        for entry, gone in sweep(parts.sessions, parts.store, grace_seconds, delete=delete):
            found, deleted = found + 1, deleted + gone
            said = {"key": entry.key, "written_at": entry.written_at.isoformat(timespec="seconds"), "deleted": gone}
            click.echo(json.dumps(said) if as_json else f"{said['key']}  {said['written_at']}")
    click.echo(f"{found} without a row, {deleted} of them deleted.", err=True)
    if found and not delete:
        click.echo("With --delete they are deleted.", err=True)


@store_group.command("check")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line for programs.")
@click.pass_context
def check_command(ctx: click.Context, as_json: bool) -> None:
    """List the rows of the database that name what the store does not have; exit status 1 if there are any."""
    from workers.sweep import missing

    count = 0
    with _parts() as parts:
        for row in missing(parts.sessions, parts.store):
            count += 1
            click.echo(row.model_dump_json() if as_json else f"{row.key}  {row.what} {row.row}")
    click.echo(f"{count} rows whose file is missing.", err=True)
    ctx.exit(MISSING_STATUS if count else 0)


@contextmanager
def _parts() -> Iterator[Parts]:
    from core.settings import load_settings
    from db.session import check_schema, make_engine, make_sessions
    from store import open_store

    settings = load_settings()
    engine = make_engine(settings.resolved_database_url)
    try:
        check_schema(engine)
        yield Parts(settings, make_sessions(engine), open_store(settings.resolved_store_url))
    finally:
        engine.dispose()
