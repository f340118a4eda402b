"""`deepvis tokens`: who may ask the API. These commands talk to the database itself, as `deepvis db` does."""

import getpass
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from cli.parse import lifetime
from cli.tables import print_json, print_table

if TYPE_CHECKING:
    from datetime import datetime

    from db.queries.tokens import TokenView
    from db.session import Sessions

SCOPES = ("read", "submit", "admin")
MOST_REQUESTS = 100_000


@click.group()
def tokens() -> None:
    """Make, list and revoke the API tokens.

    With one, another machine may ask the API. The commands talk to the database, and need no running service.
    """


@tokens.command()
@click.argument("name")
@click.option(
    "--scope",
    type=click.Choice(SCOPES),
    default="submit",
    show_default=True,
    help="read: look; submit: also ask for atlases; admin: everybody's atlases too.",
)
@click.option(
    "--expires", metavar="90d", callback=lifetime, default="90d", show_default=True, help="12h, 90d, 52w or never."
)
@click.option("--requests-per-minute", type=click.IntRange(1, MOST_REQUESTS), help="Default: the setting.")
@click.option("--max-open-atlases", type=click.IntRange(1), help="Unfinished at once. Default: the setting.")
@click.option("--max-images-per-day", type=click.IntRange(0), help="0: any number. Default: the setting.")
def make(name: str, scope: str, expires: float | None, **limits: int | None) -> None:
    """Make the token NAME and print it: it is shown this once only.

    What is asked for with it belongs to NAME. The name of a token that was revoked may be given again.
    """
    from core.specs import Scope
    from db import tokens as commands

    with _sessions() as sessions, sessions.begin() as session:
        kept = commands.Limits(**limits)
        secret = commands.make(session, name, Scope(scope), expires_seconds=expires, limits=kept)
    _note(f"makes the token {name!r} with the scope {scope}")
    click.echo(secret)
    click.echo(f"This is the token {name!r} ({scope}). It is kept nowhere: note it down now.", err=True)


@tokens.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def list_(as_json: bool) -> None:
    """List the tokens; the tokens themselves are kept nowhere."""
    from db.queries.tokens import list_tokens

    with _sessions() as sessions, sessions() as session:
        found = list_tokens(session)
    if as_json:
        print_json([token.model_dump(mode="json") for token in found])
    elif found:
        head = ["name", "scope", "state", "expires", "last used", "requests/min", "open atlases", "images/day"]
        print_table(head, list(map(_row, found)))
    else:
        click.echo("No tokens yet: deepvis tokens make NAME")


@tokens.command()
@click.argument("name")
def revoke(name: str) -> None:
    """End the token NAME, and every browser's login that came from it, within seconds."""
    from db import tokens as commands

    with _sessions() as sessions, sessions.begin() as session:
        commands.revoke(session, name)
    _note(f"revokes the token {name!r}")
    click.echo(f"The token {name!r} is revoked.")


@contextmanager
def _sessions() -> "Iterator[Sessions]":
    from core.settings import load_settings
    from db.session import check_schema, make_engine, make_sessions

    engine = make_engine(load_settings().resolved_database_url)
    try:
        check_schema(engine)
        yield make_sessions(engine)
    finally:
        engine.dispose()


def _note(action: str) -> None:
    """Add to the trail of who did what: to stderr, as logs are."""
    from core import audit, logs
    from core.settings import load_settings

    with logs.only(audit.log, load_settings().log_format):
        audit.note(_account(), action, client=f"the command line of {socket.gethostname()}")


def _account() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return f"user {os.getuid()}"


def _row(token: "TokenView") -> list[str]:
    limits = (token.requests_per_minute, token.max_open_atlases, token.max_images_per_day)
    times = [_time(token.expires_at, "never"), _time(token.last_used_at, "never")]
    return [token.name, token.scope, token.state, *times, *("-" if n is None else str(n) for n in limits)]


def _time(moment: "datetime | None", otherwise: str) -> str:
    return moment.strftime("%Y-%m-%d %H:%M") if moment else otherwise
