"""What is shown of activation jobs."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import Field
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.activation_specs import ActivationKind, ActivationResult, ActivationSpec
from core.errors import NotFound
from db.activation_models import ActivationFile, ActivationJob, JobState
from db.activations import StoredPart, parts_of
from db.models import Network
from db.queries.paging import View, cut, decode_cursor, encode_cursor


class StoredFile(View):
    """A file of a job."""

    name: str
    bytes: int


class ActivationItem(View):
    """A job as lists have it."""

    id: str
    kind: ActivationKind
    network: str
    owner: str
    state: JobState
    filename: str = Field(description="What the sender calls what was sent")
    done: int = Field(description="Layers of a picture, or frames of a recording, that are done")
    total: int | None = Field(description="Of how many; null: that is not known")
    error: str | None
    created_at: datetime
    finished_at: datetime | None

    @property
    def finished(self) -> bool:
        return self.state not in (JobState.QUEUED, JobState.RUNNING)


class ActivationView(ActivationItem):
    """One job with its result."""

    spec: ActivationSpec
    result: ActivationResult
    files: tuple[StoredFile, ...] = Field(description="What can be fetched")


class ActivationPage(View):
    """A page of jobs, newest first."""

    items: tuple[ActivationItem, ...]
    next_cursor: str | None = None


def list_jobs(
    session: Session, *, kind: ActivationKind | None = None, limit: int = 50, cursor: str | None = None
) -> ActivationPage:
    """Jobs, newest first.

    Raises:
        InvalidRequest: the cursor is none.
    """
    after = decode_cursor(cursor, str)
    wanted = select(ActivationJob, Network.name).join(Network).order_by(ActivationJob.id.desc()).limit(limit + 1)
    if kind is not None:
        wanted = wanted.where(ActivationJob.kind == kind)
    if after is not None:
        wanted = wanted.where(ActivationJob.id < after[0])
    rows = [ActivationItem(**_fields(job, name)) for job, name in session.execute(wanted)]
    page, following = cut(rows, limit, lambda item: encode_cursor(item.id))
    return ActivationPage(items=tuple(page), next_cursor=following)


def get_job(session: Session, job_id: str, kind: ActivationKind | None = None) -> ActivationView:
    """One job.

    Raises:
        NotFound: there is none of that id (and kind).
    """
    job = session.get(ActivationJob, job_id)
    if job is None or (kind is not None and job.kind != kind):
        what = "recording" if kind is ActivationKind.RECORDING else "activations"
        raise NotFound(f"There is no {what} {job_id!r}." if what == "recording" else f"There are no {what} {job_id!r}.")
    sizes = select(ActivationFile.name, func.sum(ActivationFile.bytes)).where(ActivationFile.job_id == job_id)
    files = session.execute(sizes.group_by(ActivationFile.name).order_by(ActivationFile.name))
    return ActivationView(
        **_fields(job, job.network.name),
        spec=ActivationSpec.model_validate(job.spec),
        result=ActivationResult.model_validate(job.result),
        files=tuple(StoredFile(name=name, bytes=size) for name, size in files),
    )


def get_file(session: Session, job_id: str, name: str) -> Sequence[StoredPart]:
    """The pieces of a file.

    Raises:
        NotFound: there is no such job, or it has no such file.
    """
    parts = parts_of(session, job_id, name)
    if not parts:
        raise NotFound(f"Activations {job_id!r} have no file {name!r}.", "Take its address from the job's links.")
    return parts


def _fields(job: ActivationJob, network: str) -> dict[str, Any]:
    own = ("id", "kind", "owner", "state", "filename", "done", "total", "error", "created_at", "finished_at")
    return {"network": network, **{name: getattr(job, name) for name in own}}
