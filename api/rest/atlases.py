"""Atlases: asked for, looked at, cancelled, tried again, weighed."""

from typing import Any

from apiflask import APIBlueprint
from flask import url_for
from pydantic import BaseModel, Field
from sqlalchemy.orm import Session, sessionmaker

from api.problems import InsufficientScope
from api.rest.asking import ask_for_plan
from api.rest.networks import Links
from api.rest.paging import PageQuery, link_header
from api.rest.wishes import AtlasWish, WeightWish
from api.security.callers import caller, check_owner, may
from api.services import services
from core.specs import NETWORK_NAME, Priority, Scope
from db import atlases as commands
from db.models import Atlas, AtlasState
from db.queries import atlases as queries

blueprint = APIBlueprint("atlases", __name__, url_prefix="/api/v1/atlases", tag="Atlases")

EXAMPLE = {"network": "demo", "layers": ["conv1"], "units": ["0-7"], "recipes": ["fourier", "bold"], "seeds": 2}


class AtlasQuery(PageQuery):
    """Which atlases."""

    network: str | None = Field(default=None, pattern=NETWORK_NAME, description="Only atlases of this network")


class AtlasAnswer(queries.AtlasView):
    """An atlas, its progress and its failures."""

    links: Links


class AtlasListItem(queries.AtlasItem):
    """An atlas in a list."""

    links: Links


class AtlasPage(BaseModel):
    """A page of atlases, newest first."""

    items: list[AtlasListItem]
    next_cursor: str | None = Field(default=None, description="Asks for the next page; null on the last one")


class ProgressAnswer(queries.Progress):
    """How far an atlas is."""

    id: str
    state: AtlasState


class IdempotencyHeaders(BaseModel):
    """The header that makes asking twice asking once."""

    idempotency_key: str | None = Field(
        default=None,
        pattern=r"^[\x21-\x7e]{1,200}$",
        description="Up to 200 visible characters of your choice; the same key with the same body is the same atlas",
    )


@blueprint.post("")
@blueprint.input(IdempotencyHeaders, location="headers")
@blueprint.input(AtlasWish, location="json", example=EXAMPLE)
@blueprint.output(AtlasAnswer, status_code=202)
def create_atlas(headers_data: IdempotencyHeaders, json_data: AtlasWish) -> tuple[AtlasAnswer, int, dict[str, str]]:
    """Ask for an atlas.

    Answers at once, with the atlas and its links; workers plan and compute it. Pictures that exist are reused.
    """
    parts = services()
    _check_priority(json_data.priority)
    spec = json_data.spec()
    with parts.sessions.begin() as session:
        atlas, created = commands.create(
            session,
            spec,
            owner=caller().owner,
            device_kind=json_data.device,
            priority=json_data.priority,
            weight=json_data.weight,
            idempotency_key=headers_data.idempotency_key,
            max_open=parts.settings.max_open_atlases,
            max_images_per_day=parts.settings.max_images_per_day,
            max_images=parts.settings.max_images_per_atlas,
        )
    if created:
        ask_for_plan(atlas.id, atlas.device_kind)
    replayed = {} if created else {"Idempotent-Replayed": "true"}
    return _show(atlas.id), 202, {"Location": _address(atlas.id), **replayed}


@blueprint.get("")
@blueprint.input(AtlasQuery, location="query")
@blueprint.output(AtlasPage)
def list_atlases(query_data: AtlasQuery) -> tuple[AtlasPage, int, dict[str, str]]:
    """Every atlas, newest first."""
    with services().sessions() as session:
        page = queries.list_atlases(
            session, network=query_data.network, limit=query_data.limit, cursor=query_data.cursor
        )
    items = [AtlasListItem(**dict(item), links=links(item)) for item in page.items]
    return AtlasPage(items=items, next_cursor=page.next_cursor), 200, link_header(page.next_cursor)


@blueprint.get("/<atlas_id>")
@blueprint.output(AtlasAnswer)
def show_atlas(atlas_id: str) -> AtlasAnswer:
    """One atlas, with its progress and the shards that failed."""
    return _show(atlas_id)


@blueprint.get("/<atlas_id>/progress")
@blueprint.output(ProgressAnswer)
def show_progress(atlas_id: str) -> ProgressAnswer:
    """How far an atlas is, and nothing else."""
    return progress(services().sessions, atlas_id)


@blueprint.post("/<atlas_id>/cancel")
@blueprint.output(AtlasAnswer)
def cancel_atlas(atlas_id: str) -> AtlasAnswer:
    """Give an atlas up.

    What waits is dropped at once, what is being computed stops within seconds; what is done is kept.
    """
    with services().sessions.begin() as session:
        _check_mine(session, atlas_id)
        commands.request_cancel(session, atlas_id)
    return _show(atlas_id)


@blueprint.post("/<atlas_id>/retry")
@blueprint.output(AtlasAnswer, status_code=202)
def retry_atlas(atlas_id: str) -> AtlasAnswer:
    """Try again what failed, and resume what was cancelled."""
    parts = services()
    with parts.sessions.begin() as session:
        _check_mine(session, atlas_id)
        commands.retry_failed(session, atlas_id, max_open=parts.settings.max_open_atlases)
        atlas = session.get_one(Atlas, atlas_id)
    if atlas.state == AtlasState.QUEUED:
        ask_for_plan(atlas_id, atlas.device_kind)
    return _show(atlas_id)


@blueprint.post("/<atlas_id>/weight")
@blueprint.input(WeightWish, location="json", example={"weight": 2.5})
@blueprint.output(AtlasAnswer)
def weigh_atlas(atlas_id: str, json_data: WeightWish) -> AtlasAnswer:
    """Give an unfinished atlas another share of the workers."""
    with services().sessions.begin() as session:
        _check_mine(session, atlas_id)
        commands.weigh(session, atlas_id, json_data.weight)
    return _show(atlas_id)


def _check_priority(priority: Priority | None) -> None:
    """Refuse to serve an atlas before everybody's only because somebody says so."""
    if priority == Priority.INTERACTIVE and not may(Scope.ADMIN):
        detail = "To ask for the priority interactive needs the scope admin."
        raise InsufficientScope(detail, "Leave it out: small atlases are interactive by themselves.", Scope.ADMIN)


def _check_mine(session: Session, atlas_id: str) -> None:
    """Refuse a change to somebody else's atlas, unless to an admin. One that does not exist is left to the command."""
    atlas = session.get(Atlas, atlas_id)
    if atlas is not None:
        check_owner(atlas.owner)


def progress(sessions: sessionmaker[Session], atlas_id: str) -> ProgressAnswer:
    """How far the atlas is, by the database.

    Raises:
        NotFound: there is no such atlas.
    """
    with sessions() as session:
        state, found = queries.get_progress(session, atlas_id)
    return ProgressAnswer(**dict(found), id=atlas_id, state=state)


def links(atlas: queries.AtlasItem) -> dict[str, str]:
    """Addresses of what belongs to an atlas."""
    actions: Any = {name: url_for(f"atlases.{name}_atlas", atlas_id=atlas.id) for name in ("cancel", "retry", "weigh")}
    actions["weight"] = actions.pop("weigh")
    return {
        "self": _address(atlas.id),
        "progress": url_for("atlases.show_progress", atlas_id=atlas.id),
        "events": url_for("events.watch_atlas", atlas_id=atlas.id),
        **actions,
        "network": url_for("networks.show_network", name=atlas.network),
        "gallery": f"/atlases/{atlas.id}",
    }


def _show(atlas_id: str) -> AtlasAnswer:
    with services().sessions() as session:
        atlas = queries.get_atlas(session, atlas_id)
    return AtlasAnswer(**dict(atlas), links=links(atlas))


def _address(atlas_id: str) -> str:
    return url_for("atlases.show_atlas", atlas_id=atlas_id)
