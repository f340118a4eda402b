"""`deepvis status`: atlases, workers and the queue."""

import click

from cli.tables import print_json, print_table


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def status(as_json: bool) -> None:
    """Show the latest atlases, the workers and how much is waiting."""
    from cli.client import Client
    from cli.running import connected_settings

    with Client(connected_settings()) as client:
        pass
