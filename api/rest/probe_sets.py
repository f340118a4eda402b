"""Probe sets: begun, filled by archives of images, finished, looked at, deleted."""

from collections.abc import Callable, Iterator
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Annotated

from apiflask import APIBlueprint
from flask import Response, request, url_for
from pydantic import BaseModel, ConfigDict, Field

from api.rest.files import file_responses, immutable
from api.rest.networks import Links
from api.rest.paging import PageQuery, link_header
from api.security.callers import caller, check_owner
from api.services import services
from api.uploads import on_disk
from core.collection import MAX_LABEL_CHARACTERS, Checked, Skipped, checked, read_archive
from core.errors import Conflict, NotFound, ProbeSetChanged, StoreUnavailable
from core.picture_formats import format_of
from core.specs import THUMBNAIL_PIXELS
from core.uploads import encode_thumbnail, limits_of
from db import probe_sets as commands
from db.probe_models import ProbeSetState
from db.queries import probe_sets as queries
from store.originals import Originals

blueprint = APIBlueprint("sets", __name__, url_prefix="/api/v1/probe-sets", tag="Probe sets")

EXAMPLE = {"name": "holiday", "origin": "photographs of 2015"}
MOST_TOLD = 100
"""Skipped files that the answer to an upload names; the list of all has an address of its own."""

Label = Annotated[str, Field(min_length=1, max_length=MAX_LABEL_CHARACTERS)]


# --- what is asked and answered --------------------------------------------------


class ProbeSetWish(BaseModel):
    """A probe set to be filled."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=commands.NAME, description="Its name; no other set may have it")
    origin: str = Field(default="", max_length=300, description="Where the images come from, for people")
    labels: list[Label] | None = Field(
        default=None,
        max_length=commands.MAX_LABELS,
        description="Names of the labels, in order; an empty list: the images have none; null: as they come",
    )


class ProbeSetQuery(PageQuery):
    """Which probe sets."""

    name: str | None = Field(default=None, max_length=100, description="Only the one of this name")


class ProbeSetAnswer(queries.ProbeSetView):
    """A probe set."""

    links: Links


class ProbeSetListItem(queries.ProbeSetItem):
    """A probe set in a list."""

    links: Links


class ProbeSetList(BaseModel):
    """A page of probe sets, newest first."""

    items: list[ProbeSetListItem]
    next_cursor: str | None = Field(default=None, description="Asks for the next page; null on the last one")


class ProbeImageQuery(PageQuery):
    """Which images."""

    label_index: int | None = Field(
        default=None, ge=0, le=commands.MAX_LABELS, description="Only those of the label at this place, from 0"
    )


class ProbeImageItem(queries.ProbeImageView):
    """An image of a probe set."""

    links: Links


class ProbeImageList(BaseModel):
    """A page of images, by number."""

    items: list[ProbeImageItem]
    next_cursor: str | None = Field(default=None, description="Asks for the next page; null on the last one")


class AddedAnswer(BaseModel):
    """What became of the files of an archive."""

    images: int = Field(description="New images of the set")
    duplicates: int = Field(description="Left out, as the set has the same bytes under another name")
    skipped: int = Field(description="Left out, as they are no images that can be read")
    repeated: int = Field(description="Known from before: nothing was changed")
    skips: list[queries.ProbeSkipView] = Field(description="The first of the skipped files, and why")
    total: int = Field(description="Images that the set has now")


class DeletedAnswer(BaseModel):
    """A deleted probe set."""

    id: str
    state: ProbeSetState


# --- sets ------------------------------------------------------------------------


@blueprint.post("")
@blueprint.input(ProbeSetWish, location="json", example=EXAMPLE)
@blueprint.output(ProbeSetAnswer, status_code=201)
def begin_set(json_data: ProbeSetWish) -> tuple[ProbeSetAnswer, int, dict[str, str]]:
    """Begin a probe set.

    Then send its images, and finish it. It can be used once it is finished, and does not change any more.
    """
    with services().sessions.begin() as session:
        made = commands.begin(
            session, json_data.name, owner=caller().owner, origin=json_data.origin or "uploads", labels=json_data.labels
        )
    return _show(made.id), 201, {"Location": _address(made.id)}


@blueprint.get("")
@blueprint.input(ProbeSetQuery, location="query")
@blueprint.output(ProbeSetList)
def list_sets(query_data: ProbeSetQuery) -> tuple[ProbeSetList, int, dict[str, str]]:
    """Every probe set, newest first."""
    with services().sessions() as session:
        page = queries.list_sets(session, name=query_data.name, limit=query_data.limit, cursor=query_data.cursor)
    items = [ProbeSetListItem(**dict(item), links=links(item)) for item in page.items]
    return ProbeSetList(items=items, next_cursor=page.next_cursor), 200, link_header(page.next_cursor)


@blueprint.get("/<set_id>")
@blueprint.output(ProbeSetAnswer)
def show_set(set_id: str) -> ProbeSetAnswer:
    """One probe set."""
    return _show(set_id)


@blueprint.post("/<set_id>/finish")
@blueprint.output(ProbeSetAnswer)
def finish_set(set_id: str) -> ProbeSetAnswer:
    """Let a probe set be used. From now on it does not change; its `content_hash` says exactly what is in it."""
    _mine(set_id)
    with services().sessions.begin() as session:
        commands.finish(session, set_id)
    return _show(set_id)


@blueprint.post("/<set_id>/delete")
@blueprint.output(DeletedAnswer, status_code=202)
def delete_set(set_id: str) -> tuple[DeletedAnswer, int]:
    """Delete a probe set, and all that was found out with it.

    Its name is free at once; workers delete what is left, a part at a time. An unfinished atlas that uses it fails.
    """
    _mine(set_id)
    with services().sessions.begin() as session:
        commands.delete(session, set_id)
    return DeletedAnswer(id=set_id, state=ProbeSetState.DELETED), 202


# --- images ----------------------------------------------------------------------


@blueprint.post("/<set_id>/images")
@blueprint.output(AddedAnswer)
def add_images(set_id: str) -> AddedAnswer:
    """Add the images of a zip or tar archive to a probe set that is not finished.

    Folders of the first level are labels. Files that are no images are skipped and listed. What was added before is
    left as it is: after a lost answer, send the same again.
    """
    found = _mine(set_id)
    if found.state != ProbeSetState.FILLING or found.in_place:
        raise Conflict(f"Nothing can be added to the probe set {found.name!r}.", "Begin another one.")
    with on_disk(request.stream) as path:
        return add_archive(set_id, path)


def add_archive(set_id: str, path: Path, *, whole: bool = False) -> AddedAnswer:
    """Add the images in the archive at `path`; `whole` says that they are all that the set is to have.

    Raises:
        BadArchive: it cannot be read (further).
        Conflict: the set is ready, or deleted.
        OverQuota: it would be more than it may be.
        TooLarge: its images have too many pixels together.
    """
    parts = services()
    limits = limits_of(parts.settings)
    most = commands.SetLimits(parts.settings.max_probe_set_images, parts.settings.max_probe_set_bytes)
    skips: list[queries.ProbeSkipView] = []
    found = read_archive(path, limits.most_bytes, whole=whole)
    most_pixels = max(parts.settings.max_archive_pixels, limits.most_pixels)
    items = _noting(checked(found, limits, keep=parts.store.put, most_pixels=most_pixels), skips)
    sums = sum(commands.fill(parts.sessions, set_id, items, most), commands.Added())
    with parts.sessions() as session:
        total = queries.get_set(session, set_id).images
    return AddedAnswer(**vars(sums), skips=skips, total=total)


def _noting(items: Iterator[Checked | Skipped], skips: list[queries.ProbeSkipView]) -> Iterator[Checked | Skipped]:
    """The items; the first of those that are skipped are put into `skips` on their way."""
    for item in items:
        if isinstance(item, Skipped) and len(skips) < MOST_TOLD:
            skips.append(queries.ProbeSkipView(name=item.name, reason=item.reason))
        yield item


@blueprint.get("/<set_id>/images")
@blueprint.input(ProbeImageQuery, location="query")
@blueprint.output(ProbeImageList)
def list_images(set_id: str, query_data: ProbeImageQuery) -> tuple[ProbeImageList, int, dict[str, str]]:
    """The images of a probe set, by number."""
    with services().sessions() as session:
        page = queries.list_images(
            session, set_id, label=query_data.label_index, limit=query_data.limit, cursor=query_data.cursor
        )
    items = [ProbeImageItem(**dict(image), links=image_links(set_id, image.number)) for image in page.items]
    return ProbeImageList(items=items, next_cursor=page.next_cursor), 200, link_header(page.next_cursor)


@blueprint.get("/<set_id>/skips")
@blueprint.input(PageQuery, location="query")
@blueprint.output(queries.ProbeSkipPage)
def list_skips(set_id: str, query_data: PageQuery) -> tuple[queries.ProbeSkipPage, int, dict[str, str]]:
    """The files that were left out of a probe set, and why; duplicates are among them."""
    with services().sessions() as session:
        page = queries.list_skips(session, set_id, limit=query_data.limit, cursor=query_data.cursor)
    return page, 200, link_header(page.next_cursor)


@blueprint.get("/<set_id>/images/<int:number>/file")
@blueprint.doc(responses=file_responses("image/*", "The image"))
def show_image(set_id: str, number: int) -> Response:
    """An image as it came. It never changes: caches may keep it for ever."""
    image, read = _original(set_id, number)
    response = immutable(image.key, "application/octet-stream", read)
    if response.status_code == HTTPStatus.OK and (kind := format_of(response.get_data())):
        response.content_type = kind.media_types[0]
    return response


@blueprint.get("/<set_id>/images/<int:number>/thumbnail")
@blueprint.doc(responses=file_responses("image/webp", "The thumbnail"))
def show_small(set_id: str, number: int) -> Response:
    """An image, scaled down to at most 192 x 192 pixels, as WebP."""
    image, read = _original(set_id, number)
    return immutable(f"{image.key}-small", "image/webp", lambda: encode_thumbnail(read(), 2 * THUMBNAIL_PIXELS))


def _original(set_id: str, number: int) -> tuple[queries.ImageFile, Callable[[], bytes]]:
    parts = services()
    with parts.sessions() as session:
        image = queries.get_file(session, set_id, number)
    originals = Originals(image.set_name, parts.store, image.root, parts.settings.max_picture_bytes)
    return image, partial(_read, originals, image)


def _read(originals: Originals, image: queries.ImageFile) -> bytes:
    try:
        return originals.read(image.key, image.name)
    except (ProbeSetChanged, StoreUnavailable) as error:
        if originals.root is None and isinstance(error, StoreUnavailable):
            raise
        detail = f"The file of image {image.number} is not on this machine, or is not what it was when it was added."
        raise NotFound(detail, "An in-place set needs its folder at the same path wherever it is read.") from error


def make_of_archive(name: str, origin: str, path: Path) -> None:
    """Make a set of an archive in one go; if that fails, none is left.

    Raises:
        InvalidRequest: the name cannot be one, or there is no image in the archive.
        Conflict: the name is taken.
        BadArchive: it cannot be read.
        OverQuota: it would be more than a set may be.
    """
    sessions = services().sessions
    with sessions.begin() as session:
        set_id = commands.begin(session, name, owner=caller().owner, origin=origin).id
    try:
        add_archive(set_id, path, whole=True)
        with sessions.begin() as session:
            commands.finish(session, set_id)
    except BaseException:
        with sessions.begin() as session:
            commands.delete(session, set_id)
        raise


# --- helpers ---------------------------------------------------------------------


def _mine(set_id: str) -> queries.ProbeSetView:
    """The set, if the caller may change it."""
    with services().sessions() as session:
        found = queries.get_set(session, set_id)
    check_owner(found.owner)
    return found


def _show(set_id: str) -> ProbeSetAnswer:
    with services().sessions() as session:
        found = queries.get_set(session, set_id)
    return ProbeSetAnswer(**dict(found), links=links(found))


def links(found: queries.ProbeSetItem) -> dict[str, str]:
    """Addresses of what belongs to a set."""
    actions = {name: url_for(f"sets.{name}_set", set_id=found.id) for name in ("finish", "delete")}
    lists = {name: url_for(f"sets.list_{name}", set_id=found.id) for name in ("images", "skips")}
    return {"self": _address(found.id), **lists, **actions, "gallery": f"/probe-sets/{found.name}"}


def image_links(set_id: str, number: int) -> dict[str, str]:
    """Addresses of an image's file and thumbnail."""
    return {
        "file": url_for("sets.show_image", set_id=set_id, number=number),
        "thumbnail": url_for("sets.show_small", set_id=set_id, number=number),
    }


def _address(set_id: str) -> str:
    return url_for("sets.show_set", set_id=set_id)
