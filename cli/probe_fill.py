"""Filling a probe set: over the API, a few megabytes at a time, or in place, in the database itself."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from cli.answers import AddedAnswer, ProbeSetAnswer
from cli.client import ApiProblem, Client
from cli.probe_sources import Source
from core.collection import pack
from core.errors import Conflict, InvalidRequest, NotReady
from core.settings import Settings
from core.specs import LOCAL_OWNER

TRIES = 4
PAUSE_SECONDS = 2.0

if TYPE_CHECKING:
    from db.session import Sessions

Show = Callable[[AddedAnswer], None]


def fill_over_api(client: Client, name: str, source: Source, show: Show) -> dict[str, Any]:
    """Make the set, or go on with it if it was begun before, and finish it; the set as the API shows it.

    Raises:
        Conflict: the set is there, and is finished.
        ApiProblem: the service refuses it.
    """
    found = client.probe_set(name)
    if found is None:
        wish = {"name": name, "origin": source.origin, "labels": source.labels}
        found = ProbeSetAnswer.model_validate(client.post("/probe-sets", wish))
    elif found.state != "filling":
        raise Conflict(f"There is a probe set {name!r} already.", "Choose another name, or remove that one first.")
    for _, archive in pack(source.items):
        show(_send(client, found.id, archive))
    return _finish(client, found.id)


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


# --- in place --------------------------------------------------------------------


def fill_in_place(settings: Settings, name: str, source: Source, show: Show) -> dict[str, Any]:
    """Make the set in the database, its images staying in their folder; the set as the API shows it.

    Raises:
        InvalidRequest: the source is no folder, or there is no image in it; then no set is left.
        Conflict: the set is there, and is finished.
    """
    from core.collection import checked
    from core.uploads import limits_of
    from db import probe_sets as commands
    from db.session import check_schema, make_engine, make_sessions

    if source.root is None:
        raise InvalidRequest("Only a folder of images can stay in place.", "Leave --in-place out.")
    engine = make_engine(settings.resolved_database_url)
    check_schema(engine)
    sessions = make_sessions(engine)
    set_id = _begin_in_place(sessions, name, source)
    most = commands.SetLimits(settings.max_probe_set_images, settings.max_probe_set_bytes)
    for added in commands.fill(sessions, set_id, checked(source.items, limits_of(settings)), most):
        show(AddedAnswer(**vars(added)))
    found = _finish_in_place(sessions, set_id)
    engine.dispose()
    return found


def _begin_in_place(sessions: "Sessions", name: str, source: Source) -> str:
    from db import probe_sets as commands
    from db.queries import probe_sets as queries

    with sessions.begin() as session:
        there = queries.list_sets(session, name=name).items
        if not there:
            root = str(source.root)
            made = commands.begin(session, name, owner=LOCAL_OWNER, origin=root, labels=source.labels, root=root)
            return made.id
        if there[0].state != "filling" or queries.get_root(session, there[0].id) != str(source.root):
            raise Conflict(f"There is a probe set {name!r} already.", "Choose another name, or remove that one first.")
        return there[0].id


def _finish_in_place(sessions: "Sessions", set_id: str) -> dict[str, Any]:
    from db import probe_sets as commands
    from db.queries import probe_sets as queries

    try:
        with sessions.begin() as session:
            commands.finish(session, set_id)
    except InvalidRequest:
        with sessions.begin() as session:
            commands.delete(session, set_id)
        raise
    with sessions() as session:
        return queries.get_set(session, set_id).model_dump(mode="json")
