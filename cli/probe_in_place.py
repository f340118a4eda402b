"""`deepvis probe add --in-place`: images that stay in their folder, noted in the service's own database."""

from typing import TYPE_CHECKING, Any

from cli.answers import AddedAnswer
from cli.probe_fill import Show, other_labels
from cli.probe_sources import Source, goes_on_with
from core.errors import Conflict, InvalidRequest
from core.settings import Settings
from core.specs import LOCAL_OWNER

if TYPE_CHECKING:
    from db.session import Sessions


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
    try:
        check_schema(engine)
        sessions = make_sessions(engine)
        set_id = _begin(sessions, name, source)
        most = commands.SetLimits(settings.max_probe_set_images, settings.max_probe_set_bytes)
        for added in commands.fill(sessions, set_id, checked(source.items, limits_of(settings)), most):
            show(AddedAnswer(**vars(added)))
        return _finish(sessions, set_id)
    finally:
        engine.dispose()


def _begin(sessions: "Sessions", name: str, source: Source) -> str:
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
        found = queries.get_set(session, there[0].id)
        if not goes_on_with(source.labels, found.labels, found.labels_fixed):
            raise other_labels(name)
        return found.id


def _finish(sessions: "Sessions", set_id: str) -> dict[str, Any]:
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
