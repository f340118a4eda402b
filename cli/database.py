"""`deepvis db`: the database's tables."""

import time
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from sqlalchemy import Engine

PAUSE_SECONDS = 2.0
CHECK_SECONDS = 10.0


@click.group()
def db() -> None:
    """Look after the database."""


@db.command()
def upgrade() -> None:
    """Create the tables, or change them as this version needs them. Safe to run again, and from several places."""
    from core.addresses import without_password
    from core.settings import load_settings
    from db import migrate

    url = load_settings().resolved_database_url
    migrate.upgrade(url)
    click.echo(f"The database {without_password(url)} is up to date.")


@db.command()
@click.option("--seconds", type=click.FloatRange(0), default=300.0, show_default=True, help="How long at most.")
def wait(seconds: float) -> None:
    """Wait until the database answers and its tables are those of this version.

    For what is started beside `deepvis db upgrade`, such as the pods of an update.
    """
    from core.settings import load_settings
    from db.session import make_engine

    engine = make_engine(load_settings().resolved_database_url)
    wait_for_tables(engine, time.monotonic() + seconds)
    engine.dispose()
    click.echo("The database is up to date.")


def wait_for_tables(engine: "Engine", deadline: float) -> None:
    """Return when the tables are those of this version; each reason to wait is said once.

    Raises:
        BadSetting, NotReady: they are not at `deadline` (`time.monotonic()`), and why.
    """
    from core.deadlines import within
    from core.errors import DeepvisError
    from db.session import check_schema

    said = ""
    while True:
        try:
            return within(CHECK_SECONDS, "the database", lambda: check_schema(engine))
        except DeepvisError as error:
            left = deadline - time.monotonic()
            if left <= 0:
                raise
            if error.detail != said:
                click.echo(f"Waiting: {error.detail}", err=True)
            said = error.detail
        time.sleep(min(PAUSE_SECONDS, left))


@db.command()
def catalogue() -> None:
    """Make every network known by name, the operator's own among them.

    Workers do so too when they start. Where they are started by need, as an autoscaler does, nobody could ask for a
    network before: run it after `deepvis db upgrade`, and after a change of DEEPVIS_NETWORKS_FILE.
    """
    from core.settings import load_settings
    from db.networks import sync_catalogue
    from db.session import check_schema, make_engine, make_sessions
    from deepvis.networks import catalogue as every_source

    settings = load_settings()
    sources = every_source(settings.networks_file)
    engine = make_engine(settings.resolved_database_url)
    check_schema(engine)
    with make_sessions(engine).begin() as session:
        sync_catalogue(session, sources)
    engine.dispose()
    click.echo(f"{len(sources)} networks are known.")
