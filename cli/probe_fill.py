"""Filling a probe set over the API, a few megabytes at a time."""

import time
from collections.abc import Callable
from itertools import chain
from typing import Any

import click

from cli.answers import AddedAnswer, ProbeSetAnswer
from cli.client import ApiProblem, Client
from cli.probe_sources import DEMO, Source, goes_on_with, open_source
from core.collection import pack
from core.errors import Conflict, InvalidRequest, NotReady
from core.settings import Settings

TRIES = 4
PAUSE_SECONDS = 2.0

Show = Callable[[AddedAnswer], None]


def fill_over_api(client: Client, name: str, source: Source, show: Show) -> dict[str, Any]:
    """Make the set, or go on with it if it was begun before, and finish it; the set as the API shows it.

    Raises:
        InvalidRequest: there is no image; then no set is left.
        Conflict: the set is there, and is finished, or of another origin.
        ApiProblem: the service refuses it.
    """
    archives = pack(source.items)
    first = next(archives, None)  # before the set is begun: what cannot be read leaves none behind
    if first is None:
        raise InvalidRequest(f"There is no file in {source.origin}.", "Name a folder or an archive of images.")
    set_id = _begin(client, name, source)
    for _, archive in chain([first], archives):
        show(_send(client, set_id, archive))
    return _finish(client, set_id)


def _begin(client: Client, name: str, source: Source) -> str:
    """The id of a set that is being filled from the source."""
    found = client.probe_set(name)
    if found is None:
        wish = {"name": name, "origin": source.origin, "labels": source.labels}
        return str(client.post("/probe-sets", wish)["id"])
    if found.state == "filling" and found.origin == source.origin and not found.in_place:
        whole = ProbeSetAnswer.model_validate(client.get(f"/probe-sets/{found.id}"))
        if not goes_on_with(source.labels, whole.labels, whole.labels_fixed):
            raise other_labels(name)
        return found.id
    how = f" ({found.state}, from {found.origin})"
    raise Conflict(f"There is a probe set {name!r} already{how}.", "Choose another name, or remove that one first.")


def other_labels(name: str) -> Conflict:
    """The error for a set that was begun with other labels than those it is to go on with."""
    detail = f"The probe set {name!r} was begun with other labels."
    return Conflict(detail, "Give the same --labels as then, or remove the set first.")


def add_demo_set(client: Client, settings: Settings) -> None:
    """Make the probe set "demo" of generated pictures, if it is not there; somebody else's of that name is left."""
    found = client.probe_set(DEMO)
    if found is not None and found.state != "filling":
        return
    try:
        fill_over_api(client, DEMO, open_source([DEMO], settings.max_picture_bytes), lambda _: None)
    except Conflict as error:
        click.echo(f"{error.detail} It is left as it is, and the generated pictures are not added.", err=True)


def _send(client: Client, set_id: str, archive: bytes) -> AddedAnswer:
    """Add the images of an archive; again, if the answer is lost: what was added stays as it is."""
    for _ in range(TRIES - 1):
        try:
            return client.add_images(set_id, archive)
        except NotReady as error:
            click.echo(f"{error.detail} Trying again.", err=True)
            time.sleep(PAUSE_SECONDS)
    return client.add_images(set_id, archive)


def _finish(client: Client, set_id: str) -> dict[str, Any]:
    try:
        return client.post(f"/probe-sets/{set_id}/finish")
    except ApiProblem as problem:
        if problem.kind == "invalid-request":  # there is no image in it
            client.post(f"/probe-sets/{set_id}/delete")
        raise
