"""`deepvis health`: whether the part that runs here does its work, for the probes of containers."""

import socket
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from core.settings import Settings

ANSWER_SECONDS = 3.0
DATABASE_SECONDS = 6.0
"""How long the database is waited for in all: probes are given ten seconds, of which Python takes some to start."""
UNHEALTHY_STATUS = 1


@click.group()
def health() -> None:
    """Say whether the part that runs on this host does its work.

    For the probes of containers: quick, quiet, and with exit status 1 when it does not. Status 2 says that nobody
    knows, as the database did not answer, say; that is no reason to start the part anew.
    """


@health.command()
@click.pass_context
def worker(ctx: click.Context) -> None:
    """Whether a worker of this host has beaten lately, by the database's clock."""
    from core.settings import load_settings

    settings = load_settings()
    seconds = settings.alive_seconds
    if beats(settings, socket.gethostname(), seconds):
        return
    click.echo(f"No worker of this host has beaten within {seconds:g} s.", err=True)
    ctx.exit(UNHEALTHY_STATUS)


@health.command()
@click.pass_context
def api(ctx: click.Context) -> None:
    """Whether the web server of this host answers."""
    from core.settings import load_settings

    settings = load_settings()
    host = reachable(settings.host)
    if answers(host, settings.port):
        return
    click.echo(f"No web server answers at {host}, port {settings.port}.", err=True)
    ctx.exit(UNHEALTHY_STATUS)


def beats(settings: "Settings", host: str, seconds: float) -> bool:
    """Whether a worker of `host` that has not stopped has beaten within the last `seconds`.

    Raises:
        NotReady: the database cannot be asked, or does not answer within `DATABASE_SECONDS`.
    """
    from core.deadlines import within

    url = settings.resolved_database_url
    return within(DATABASE_SECONDS, "the database", lambda: _beats(url, host, seconds))


def _beats(url: str, host: str, seconds: float) -> bool:
    from sqlalchemy.exc import DBAPIError

    from core.errors import NotReady
    from db.session import make_engine, make_sessions
    from db.workers import lives_on

    engine = make_engine(url)
    try:
        with make_sessions(engine)() as session:
            return lives_on(session, host, seconds)
    except DBAPIError as error:
        raise NotReady(f"The database cannot be asked: {error.orig}.", "Check DEEPVIS_DATABASE_URL.") from error
    finally:
        engine.dispose()


def answers(host: str, port: int) -> bool:
    """Whether the web server at `host` says that it lives. No proxy is asked, whatever the environment names."""
    from http.client import HTTPConnection, HTTPException

    connection = HTTPConnection(host, port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def reachable(host: str) -> str:
    """Where a server that listens on `host` is reached from here."""
    return {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # compared, not bound
