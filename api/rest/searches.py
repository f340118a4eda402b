"""Searches across a whole network: by label, and by picture."""

from typing import Any

from apiflask import APIBlueprint
from flask import Response, url_for
from pydantic import BaseModel, Field

from api.rest.answers import SET, SetQuery
from api.rest.asking import ask_for_search
from api.rest.files import PNG, file_responses, immutable, stored
from api.rest.networks import Links
from api.rest.paging import MAX_LIMIT, Query
from api.security.callers import caller
from api.services import services
from api.uploads import read_picture
from core.uploads import encode_clean
from db import searches as commands
from db.queries import searches as queries
from db.queries.passes import PassItem, require_pass
from db.usable_sets import find_set

blueprint = APIBlueprint("searches", __name__, url_prefix="/api/v1", tag="Answers")


class LabelQuery(Query):
    """Which label."""

    label: str = Field(min_length=1, max_length=100, description="Words of a label; one or many: dogs finds dog")
    set: str | None = SET
    limit: int = Field(default=60, ge=1, le=MAX_LIMIT, description="Most units in the answer")


class LabelUnitAnswer(queries.LabelUnit):
    """A unit that prefers a label."""

    links: Links


class LabelSearchAnswer(BaseModel):
    """Units that prefer a label, the strongest effect first."""

    probe: PassItem
    text: str
    labels: list[str] = Field(description="The set's labels that the text means")
    items: list[LabelUnitAnswer]
    more: bool = Field(description="Whether there are more units than `limit`")
    message: str = Field(description="Why there are none; else empty")


class ExcitedUnitAnswer(queries.ExcitedUnit):
    """A unit that a picture excites."""

    links: Links


class PictureSearchAnswer(BaseModel):
    """A search by picture. Its units are there once it is done: those that it excites most compared with the set."""

    id: str
    probe: PassItem
    owner: str
    state: str = Field(description="queued, done or failed")
    error: str | None = Field(description="Why it failed")
    units: list[ExcitedUnitAnswer]
    links: Links


@blueprint.get("/networks/<name>/search")
@blueprint.input(LabelQuery, location="query")
@blueprint.output(LabelSearchAnswer)
def search_by_label(name: str, query_data: LabelQuery) -> LabelSearchAnswer:
    """The units of all layers that prefer a label of the probe set's images."""
    with services().sessions() as session:
        found = queries.search_labels(session, name, query_data.label, set_name=query_data.set, limit=query_data.limit)
    items = [LabelUnitAnswer(**dict(unit), links=unit_links(name, unit)) for unit in found.items]
    return LabelSearchAnswer(**{**dict(found), "items": items})


@blueprint.post("/networks/<name>/searches")
@blueprint.input(SetQuery, location="query")
@blueprint.output(PictureSearchAnswer, status_code=202)
def search_by_picture(name: str, query_data: SetQuery) -> tuple[PictureSearchAnswer, int, dict[str, str]]:
    """Ask which units of all layers a picture excites most, compared with their answers to a probe set.

    The body is the picture, or a form with the field `picture`. Answers at once; a worker looks at the picture.
    """
    search_id = start_search(name, query_data.set)
    return _show(search_id), 202, {"Location": _address(search_id)}


@blueprint.get("/searches/<search_id>")
@blueprint.output(PictureSearchAnswer)
def show_search(search_id: str) -> PictureSearchAnswer:
    """A search by picture, and what it found."""
    return _show(search_id)


@blueprint.get("/searches/<search_id>/picture")
@blueprint.doc(responses=file_responses("image/png", "The picture"))
def show_searched(search_id: str) -> Response:
    """The picture that was sent, upright, without anything else that was in its file."""
    with services().sessions() as session:
        key = queries.get_search(session, search_id).picture
    return immutable(key, "image/png", lambda: stored(key, PNG))


def start_search(name: str, set_name: str | None) -> str:
    """Keep the picture of the present request, and ask a worker for what it excites; the search's id.

    Raises:
        UnknownNetwork, NotFound, Conflict: there is nothing to compare it with, or it was deleted just now.
        BadPicture: the picture cannot be read.
    """
    parts = services()
    with parts.sessions() as session:
        probe = require_pass(session, name, set_name)
        pass_id, set_id = probe.id, probe.set_id
    picture = read_picture()
    picture.thumbnail((commands.MOST_SIDE, commands.MOST_SIDE))
    key = parts.store.put(encode_clean(picture))
    with parts.sessions.begin() as session:
        find_set(session, set_id, hold=True)  # a search that is added to a forgotten set would stay for ever
        search_id = commands.create(session, pass_id, key, caller().owner).id
    ask_for_search(search_id)
    return search_id


def unit_links(name: str, unit: queries.FoundUnit) -> dict[str, str]:
    """Addresses of a unit that was found."""
    place: dict[str, Any] = {"name": name, "layer": unit.layer, "unit": unit.unit}
    links = {"answers": url_for("answers.show_answers", **place), "unit": url_for("units.show_unit", **place)}
    if unit.thumbnail is not None:
        links["sheet"] = url_for("sheets.show_sheet", key=unit.thumbnail.sheet)
    return {**links, "gallery": links["unit"].removeprefix("/api/v1")}


def _show(search_id: str) -> PictureSearchAnswer:
    with services().sessions() as session:
        found = queries.get_search(session, search_id)
    network = found.probe.network
    units = [ExcitedUnitAnswer(**dict(unit), links=unit_links(network, unit)) for unit in found.units]
    links = {
        "self": _address(search_id),
        "picture": url_for("searches.show_searched", search_id=search_id),
        "network": url_for("networks.show_network", name=network),
        "gallery": f"/searches/{search_id}",
    }
    return PictureSearchAnswer(**{**dict(found), "units": units}, links=links)


def _address(search_id: str) -> str:
    return url_for("searches.show_search", search_id=search_id)
