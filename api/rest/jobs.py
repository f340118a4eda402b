"""What activations of pictures and of videos have in common: asking, answering, files."""

import hashlib
from collections.abc import Sequence
from pathlib import PurePath
from typing import Annotated, Any, BinaryIO, cast

from flask import Response, request, url_for
from pydantic import BaseModel, ConfigDict, Field
from werkzeug.datastructures import FileStorage
from werkzeug.wsgi import FileWrapper

from api.rest.asking import ask_for_activations
from api.rest.files import YEAR_SECONDS
from api.rest.networks import Links
from api.security.callers import caller, check_owner
from api.services import services
from core.activation_specs import INPUT_FILE, ActivationKind, ActivationSpec
from core.errors import NotFound
from core.specs import NETWORK_NAME
from db import activations as commands
from db.activations import ActivationWish, Sent, StoredPart
from db.queries import activations as queries
from store.parts import Part, PartsFile, put_parts

CHUNK_BYTES = 262_144
MEDIA_TYPES = {".png": "image/png", ".webm": "video/webm"}
"""By suffix; all else is bytes to be saved."""
BYTES = "application/octet-stream"
PLURAL = {ActivationKind.PICTURE: "activations", ActivationKind.RECORDING: "recordings"}
SINGULAR = {ActivationKind.PICTURE: "activations", ActivationKind.RECORDING: "recording"}

Layers = Annotated[str, Field(max_length=20_000)]


class Wish(BaseModel):
    """The fields beside the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    network: str = Field(pattern=NETWORK_NAME, description="Name of a network")


class JobAnswer(queries.ActivationView):
    """A job, its result and its files."""

    links: Links


class JobListItem(queries.ActivationItem):
    """A job in a list."""

    links: Links


class JobPage(BaseModel):
    """A page of jobs, newest first."""

    items: list[JobListItem]
    next_cursor: str | None = Field(default=None, description="Asks for the next page; null on the last one")


def names(text: str) -> tuple[str, ...]:
    """The names in a text with commas between them."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def resolve(wish: ActivationWish) -> ActivationSpec:
    """The wish with its names looked up, before anything that was sent is looked at."""
    with services().sessions() as session:
        return commands.resolve(session, wish)


def submit(spec: ActivationSpec, sent: BinaryIO, filename: str) -> tuple[JobAnswer, int, dict[str, str]]:
    """Keep what was sent, and ask a worker for its activations."""
    parts = services()
    stored = [StoredPart(*part) for part in put_parts(parts.store, sent)]
    with parts.sessions.begin() as session:
        job = commands.create(
            session,
            spec,
            Sent(filename, stored),
            owner=caller().owner,
            max_open=parts.settings.max_open_activations,
        )
        job_id = job.id
    ask_for_activations(job_id, spec.kind)
    return show(job_id, spec.kind), 202, {"Location": _address(job_id, spec.kind)}


def filename_of(upload: FileStorage) -> str:
    """What the sender calls the file, without folders."""
    return PurePath((upload.filename or "").replace("\\", "/")).name[:200]


def show(job_id: str, kind: ActivationKind) -> JobAnswer:
    """One job, with its links."""
    with services().sessions() as session:
        job = queries.get_job(session, job_id, kind)
    return JobAnswer(**dict(job), links=links(job, [file.name for file in job.files]))


def list_page(kind: ActivationKind, limit: int, cursor: str | None) -> JobPage:
    """A page of jobs of that kind."""
    with services().sessions() as session:
        page = queries.list_jobs(session, kind=kind, limit=limit, cursor=cursor)
    return JobPage(items=[JobListItem(**dict(i), links=links(i)) for i in page.items], next_cursor=page.next_cursor)


def cancel(job_id: str, kind: ActivationKind) -> JobAnswer:
    """Give a job up."""
    check_mine(job_id, kind)
    with services().sessions.begin() as session:
        commands.cancel(session, job_id)
    return show(job_id, kind)


def delete(job_id: str, kind: ActivationKind) -> None:
    """Forget a job and its files."""
    check_mine(job_id, kind)
    with services().sessions.begin() as session:
        commands.delete(session, job_id)


def check_mine(job_id: str, kind: ActivationKind) -> None:
    """Refuse a change to somebody else's job, unless to an admin."""
    with services().sessions() as session:
        check_owner(queries.get_job(session, job_id, kind).owner)


def file_answer(job_id: str, kind: ActivationKind, name: str) -> Response:
    """A file of a job, whole or the range that is asked for; it never changes."""
    with services().sessions() as session:
        queries.get_job(session, job_id, kind)
        if name == INPUT_FILE:
            raise NotFound("What was sent is not given out.", "`files` lists what there is.")
        parts = [Part(*part) for part in queries.get_file(session, job_id, name)]
    return _streamed(PartsFile(services().store, parts), parts, name)


def _streamed(file: PartsFile, parts: Sequence[Part], name: str) -> Response:
    media_type = MEDIA_TYPES.get(PurePath(name).suffix, BYTES)
    body = FileWrapper(cast(Any, file), CHUNK_BYTES)
    response = Response(body, content_type=media_type, direct_passthrough=True)
    response.content_length = file.size
    response.set_etag(hashlib.sha256("".join(part.key for part in parts).encode()).hexdigest())
    response.headers["Cache-Control"] = f"private, max-age={YEAR_SECONDS}, immutable"
    response.headers["Content-Disposition"] = f'{"attachment" if media_type == BYTES else "inline"}; filename="{name}"'
    response.make_conditional(request, accept_ranges=True, complete_length=file.size)
    return response


def links(job: queries.ActivationItem, files: Sequence[str] = ()) -> dict[str, str]:
    """Addresses of what belongs to a job; each of its files under its own name."""
    group, one = PLURAL[job.kind], SINGULAR[job.kind]
    return {
        "self": _address(job.id, job.kind),
        "cancel": url_for(f"{group}.cancel_{one}", job_id=job.id),
        "network": url_for("networks.show_network", name=job.network),
        "gallery": f"/{group}/{job.id}",
        **{name: file_address(job, name) for name in files if name != INPUT_FILE},
    }


def file_address(job: queries.ActivationItem, name: str) -> str:
    """Where a file of a job is."""
    return url_for(f"{PLURAL[job.kind]}.show_{SINGULAR[job.kind]}_file", job_id=job.id, file=name)


def _address(job_id: str, kind: ActivationKind) -> str:
    return url_for(f"{PLURAL[kind]}.show_{SINGULAR[kind]}", job_id=job_id)


FILE_RESPONSES: Any = {
    200: {"description": "The file", "content": {BYTES: {}, **{kind: {} for kind in MEDIA_TYPES.values()}}},
    206: {"description": "The part of it that was asked for", "content": {}},
    304: {"description": "The client has it", "content": {}},
}
