"""`deepvis probe`: named collections of images to put before a network."""

from itertools import islice
from typing import Any

import click

from cli.tables import print_json, print_table
from cli.texts import size

MOST_SHOWN = 200
"""Skipped files that are listed."""

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


@click.group()
def probe() -> None:
    """Keep probe sets: named collections of images to put before a network."""


@probe.command()
@click.argument("name")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option("--labels", metavar="FILE", help="Names of the labels, one a line, in order; or none: leave them out.")
@click.option(
    "--in-place",
    is_flag=True,
    help="Leave the images in their folder, which every worker sees under the same path; keep their hashes only "
    "(needs this service's database).",
)
def add(name: str, paths: tuple[str, ...], labels: str | None, in_place: bool) -> None:
    """Make the probe set NAME of the images at PATH.

    PATH is a folder, zip or tar archives, WebDataset shards (or the folder they are in), or the word demo: generated
    pictures of the demo network's classes. Folders of the first level are labels if all images are in one.

    Files that are no images are skipped and listed. After an interruption, give the same command again.
    """
    from cli.client import Client
    from cli.probe_fill import fill_over_api
    from cli.probe_in_place import fill_in_place
    from cli.probe_progress import counting
    from cli.probe_sources import open_source, read_labels
    from cli.running import connected_settings

    settings = connected_settings()
    source = open_source(paths, settings.max_picture_bytes, read_labels(labels))
    with counting() as show:
        if in_place:
            made = fill_in_place(settings, name, source, show)
        else:
            with Client(settings) as client:
                made = fill_over_api(client, name, source, show)
    _tell(made)


@probe.command("list")
@as_json
def list_(as_json: bool) -> None:
    """List the probe sets, newest first."""
    from cli.client import Client
    from cli.running import connected_settings

    with Client(connected_settings()) as client:
        found = list(client.pages("/probe-sets"))
    if as_json:
        print_json(found)
    elif found:
        head = ["name", "state", "images", "labels", "size", "skipped", "duplicates", "from"]
        print_table(head, [_row(each) for each in found], right=head[2:7])
    else:
        click.echo("No probe sets yet: deepvis probe add NAME FOLDER")


@probe.command()
@click.argument("name")
@as_json
def show(name: str, as_json: bool) -> None:
    """Show the probe set NAME, and what was skipped and why."""
    from cli.client import Client
    from cli.running import connected_settings

    with Client(connected_settings()) as client:
        found = client.get(f"/probe-sets/{client.expect_probe_set(name).id}")
        skips = list(islice(client.pages(f"/probe-sets/{found['id']}/skips"), MOST_SHOWN))
    if as_json:
        print_json({**found, "skips": skips})
        return
    _tell(found)
    if skips:
        print_table(["not in it", "why"], [[skip["name"], skip["reason"]] for skip in skips])


@probe.command()
@click.argument("name")
def remove(name: str) -> None:
    """Delete the probe set NAME, and all that was found out with it."""
    from cli.client import Client
    from cli.running import connected_settings

    with Client(connected_settings()) as client:
        client.post(f"/probe-sets/{client.expect_probe_set(name).id}/delete")
    click.echo(f"The probe set {name!r} is deleted.")


def _tell(found: dict[str, Any]) -> None:
    where = "in place" if found["in_place"] else size(found["bytes"])
    click.echo(
        f"Probe set {found['name']}: {found['state']}, {found['images']} images ({where}), from {found['origin']}"
    )
    click.echo(f"Labels    {_some(found['labels'])}")
    click.echo(f"Left out  {found['skipped']} files that are no images, {found['duplicates']} duplicates")


def _some(labels: list[str]) -> str:
    """The first of the labels, and how many there are."""
    more = f" and {len(labels) - 8} more" if len(labels) > 8 else ""
    return (", ".join(labels[:8]) or "none") + more


def _row(found: dict[str, Any]) -> list[str]:
    counts = [str(found[key]) for key in ("images", "label_count")]
    where = "in place" if found["in_place"] else size(found["bytes"])
    left = [str(found[key]) for key in ("skipped", "duplicates")]
    return [found["name"], found["state"], *counts, where, *left, found["origin"]]
