"""`deepvis db`: the database's tables."""

import click


@click.group()
def db() -> None:
    """Look after the database."""


@db.command()
def upgrade() -> None:
    """Create the tables, or change them as this version needs them. Safe to run again, and from several places."""
    from cli.texts import without_password
    from core.settings import load_settings
    from db import migrate

    url = load_settings().resolved_database_url
    migrate.upgrade(url)
    click.echo(f"The database {without_password(url)} is up to date.")
