"""`deepvis db`: the database's tables."""

import click


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
