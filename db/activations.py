"""Commands on activation jobs: wished for, worked on under a lease, ended. Each may be said twice.

A worker's lease is a token that every later command of its attempt must carry: whoever lost it, because it ran out and
somebody else began, or because the job was cancelled or deleted, can change nothing any more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy import delete as delete_rows
from sqlalchemy.orm import Session

from core.activation_specs import (
    INPUT_FILE,
    MOST_RECORDED_LAYERS,
    ActivationKind,
    ActivationResult,
    ActivationSpec,
    Side,
)
from core.errors import BadNetwork, InvalidRequest, LostLease, NotDescribed, NotFound, OverQuota, UnknownLayer, nearest
from core.specs import LayerInfo, NetworkSource
from db import clock, networks
from db.activation_models import ActivationFile, ActivationJob, JobState
from db.completion import lock_owner
from db.ids import time_ordered
from db.models import MAX_ERROR_CHARACTERS, Network, NetworkState

UNFINISHED = (JobState.QUEUED, JobState.RUNNING)
STALE_SECONDS = 60.0
"""A job that waits for so long gets a message again; one whose lease ran out does at once."""


class StoredPart(NamedTuple):
    """A piece of a file in the store."""

    key: str
    size: int  # bytes


Files = Mapping[str, Sequence[StoredPart]]
"""Files of a job by name."""


@dataclass(frozen=True, kw_only=True)
class ActivationWish:
    """What somebody asks for, before its names are resolved."""

    kind: ActivationKind
    network: str
    layers: Sequence[str] = ()  # empty: every layer
    side: Side = "after"
    step: int = 1
    data: bool = True


@dataclass(frozen=True, kw_only=True)
class ActivationLease:
    """What a worker needs to know for its attempt at a job."""

    job_id: str
    token: str
    attempt: int
    spec: ActivationSpec
    network: NetworkSource
    weights_hash: str | None
    layers: Sequence[LayerInfo]  # those of the wish, in forward order
    labels: Sequence[str]
    filename: str
    input: Sequence[StoredPart]


@dataclass(frozen=True)
class Sent:
    """A picture or video as it was sent, which lies in the store."""

    filename: str
    parts: Sequence[StoredPart]


def resolve(session: Session, wish: ActivationWish) -> ActivationSpec:
    """The wish with its layers looked up.

    Raises:
        UnknownNetwork, UnknownLayer: it names what is not there.
        NotDescribed: no worker has found the network's layers yet.
        BadNetwork: none can.
        InvalidRequest: too many layers for a recording.
    """
    network = networks.find(session, wish.network)
    if network.state == NetworkState.FAILED:
        raise BadNetwork(f"The network {network.name!r} could not be read: {network.error}")
    if network.state != NetworkState.DESCRIBED:
        raise NotDescribed(network.name)
    layers = [layer.name for layer in chosen_layers(network, wish.layers)]
    if wish.kind is ActivationKind.RECORDING and not 0 < len(wish.layers) <= MOST_RECORDED_LAYERS:
        detail = f"A recording shows 1 to {MOST_RECORDED_LAYERS} layers, and {len(wish.layers)} are asked for."
        raise InvalidRequest(detail, "Name them in `layers`, with commas between them.")
    return ActivationSpec(
        kind=wish.kind, network=wish.network, layers=tuple(layers), side=wish.side, step=wish.step, data=wish.data
    )


def chosen_layers(network: Network, names: Sequence[str]) -> list[LayerInfo]:
    """The layers of these names in forward order; of none, all but normalisations that another layer is read after.

    Raises:
        UnknownLayer: the network has no layer of that name.
    """
    known = {layer.name: LayerInfo.model_validate(layer.info) for layer in network.layers}
    for name in names:
        if name not in known:
            raise UnknownLayer(f"{network.name!r} has no layer {name!r}.", nearest(name, known))
    read = {layer.read_at for layer in known.values() if layer.read_at != layer.name}
    chosen = [layer for layer in known.values() if (layer.name in names if names else layer.name not in read)]
    return sorted(chosen, key=lambda layer: layer.order)


def create(
    session: Session,
    spec: ActivationSpec,
    sent: Sent,
    *,
    owner: str,
    max_open: int,
) -> ActivationJob:
    """A new job for what was sent.

    Raises:
        OverQuota: the owner has `max_open` jobs that are not finished.
    """
    lock_owner(session, owner)
    mine = select(func.count()).where(ActivationJob.owner == owner, ActivationJob.state.in_(UNFINISHED))
    count = session.scalar(mine) or 0
    if count >= max_open:
        detail = f"{count} activation jobs of {owner!r} are unfinished, and {max_open} may be."
        raise OverQuota(detail, "Wait, or cancel one.")
    moment = clock.now(session)
    job = ActivationJob(
        id=time_ordered(moment),
        kind=spec.kind,
        network=networks.find(session, spec.network),
        owner=owner,
        spec=spec.model_dump(mode="json"),
        filename=sent.filename[:200],
        requested_at=moment,
        created_at=moment,
    )
    session.add(job)
    session.flush()
    _add_files(session, job.id, {INPUT_FILE: sent.parts})
    return job


# --- a worker's attempt ------------------------------------------------------------------


def begin(session: Session, job_id: str, token: str, lease_seconds: float, max_attempts: int) -> ActivationLease | None:
    """Lease the job; None if there is nothing to do: it is gone or ended, another worker has it, or it was given up.

    The same token may begin again, should the answer have got lost. A job that takes its worker down with it would
    otherwise be tried for ever: attempts are counted as they begin.
    """
    job = _lock(session, job_id)
    if job is None or job.state not in UNFINISHED:
        return None
    moment = clock.now(session)
    if job.lease_token != token:
        if job.state == JobState.RUNNING and job.lease_expires_at and job.lease_expires_at > moment:
            return None
        if job.attempts >= max_attempts:
            _end(session, job, JobState.FAILED, f"It ended its worker {job.attempts} times; it may need more memory.")
            return None
        job.attempts += 1
    job.state, job.lease_token, job.started_at = JobState.RUNNING, token, moment
    job.lease_expires_at = clock.after(moment, lease_seconds)
    job.done, job.total = 0, None
    return _lease(session, job, token)


def renew(session: Session, lease: ActivationLease, done: int, total: int | None, lease_seconds: float) -> bool:
    """Keep the lease for longer and note how far the work is; False if it is somebody else's, or was given up."""
    mine = update(ActivationJob).where(*_held(lease)).returning(ActivationJob.id)
    until = clock.after(clock.now(session), lease_seconds)
    return session.scalar(mine.values(done=done, total=total, lease_expires_at=until)) is not None


def finish(session: Session, lease: ActivationLease, result: ActivationResult, files: Files) -> None:
    """Make the result true; nothing if this lease has done so already.

    Raises:
        LostLease: the job is somebody else's, or was given up or deleted.
    """
    job = _lock(session, lease.job_id)
    if job is None or job.lease_token != lease.token or job.state not in (JobState.RUNNING, JobState.DONE):
        raise LostLease(f"Activations {lease.job_id} are somebody else's, or were given up.")
    if job.state == JobState.DONE:
        return
    _add_files(session, job.id, files)
    job.result = result.model_dump(mode="json")
    job.done = job.total = result.frames if job.kind == ActivationKind.RECORDING else len(result.layers)
    _end(session, job, JobState.DONE)


def leave(session: Session, lease: ActivationLease) -> None:
    """Give the job back unfinished, as something around it does not work; the attempt does not count."""
    job = _lock(session, lease.job_id)
    if job is not None and job.state == JobState.RUNNING and job.lease_token == lease.token:
        job.state, job.lease_token, job.lease_expires_at = JobState.QUEUED, None, None
        job.attempts, job.requested_at = max(0, job.attempts - 1), clock.now(session)


def fail(session: Session, lease: ActivationLease, error: str) -> None:
    """Note why there is no result; nothing if the lease is lost."""
    job = _lock(session, lease.job_id)
    if job is not None and job.state == JobState.RUNNING and job.lease_token == lease.token:
        _end(session, job, JobState.FAILED, error)


# --- whoever asked -------------------------------------------------------------------------


def cancel(session: Session, job_id: str) -> ActivationJob:
    """Give the job up; nothing if it has ended.

    Raises:
        NotFound: there is none of that id.
    """
    job = _expect(session, job_id)
    if job.state in UNFINISHED:
        _end(session, job, JobState.CANCELLED)
    return job


def delete(session: Session, job_id: str) -> None:
    """Forget the job and its files, whatever state it is in; what lies in the store is swept later.

    Raises:
        NotFound: there is none of that id.
    """
    job = _expect(session, job_id)
    session.execute(delete_rows(ActivationFile).where(ActivationFile.job_id == job_id))
    session.delete(job)


# --- whoever looks after lost messages -------------------------------------------------------


def take_unanswered(
    session: Session, *, stale_seconds: float = STALE_SECONDS, limit: int = 20
) -> list[tuple[str, ActivationKind]]:
    """Jobs that wait, asked for over `stale_seconds` ago, or whose lease ran out since; noted as asked for now."""
    moment = clock.now(session)
    is_stale = ActivationJob.requested_at < clock.after(moment, -stale_seconds)
    waits = (ActivationJob.state == JobState.QUEUED) & is_stale
    expired = (ActivationJob.state == JobState.RUNNING) & (ActivationJob.lease_expires_at < moment)
    lost = expired & (is_stale | (ActivationJob.requested_at < ActivationJob.lease_expires_at))
    wanted = (
        select(ActivationJob)
        .where(waits | lost)
        .order_by(ActivationJob.requested_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    jobs = session.scalars(wanted).all()
    for job in jobs:
        job.requested_at = moment
    return [(job.id, ActivationKind(job.kind)) for job in jobs]


def end_expired(session: Session) -> int:
    """Take the jobs whose lease ran out from their workers, which can then commit nothing; how many."""
    expired = (ActivationJob.state == JobState.RUNNING, ActivationJob.lease_expires_at < clock.now(session))
    ended = update(ActivationJob).where(*expired).values(state=JobState.QUEUED, lease_token=None, lease_expires_at=None)
    return len(session.scalars(ended.returning(ActivationJob.id)).all())


def count_held(session: Session) -> int:
    """Jobs that some worker may still commit."""
    return session.scalar(select(func.count()).where(ActivationJob.state == JobState.RUNNING)) or 0


def _lock(session: Session, job_id: str) -> ActivationJob | None:
    statement = select(ActivationJob).where(ActivationJob.id == job_id).with_for_update(of=ActivationJob)
    return session.scalar(statement.execution_options(populate_existing=True))


def _expect(session: Session, job_id: str) -> ActivationJob:
    job = _lock(session, job_id)
    if job is None:
        raise NotFound(f"There are no activations {job_id!r}.", "See the list of activations.")
    return job


def _held(lease: ActivationLease) -> tuple[ColumnElement[bool], ...]:
    held = (ActivationJob.id == lease.job_id, ActivationJob.lease_token == lease.token)
    return (*held, ActivationJob.state == JobState.RUNNING)


def _end(session: Session, job: ActivationJob, state: JobState, error: str | None = None) -> None:
    """The token stays with a finished job: its worker may say so twice. What was sent is not kept any longer."""
    session.execute(
        delete_rows(ActivationFile).where(ActivationFile.job_id == job.id, ActivationFile.name == INPUT_FILE)
    )
    job.state, job.error = state, error[:MAX_ERROR_CHARACTERS] if error else None
    job.lease_expires_at, job.finished_at = None, clock.now(session)


def _add_files(session: Session, job_id: str, files: Files) -> None:
    session.add_all(
        ActivationFile(job_id=job_id, name=name, part=number, key=part.key, bytes=part.size)
        for name, parts in files.items()
        for number, part in enumerate(parts)
    )


def _lease(session: Session, job: ActivationJob, token: str) -> ActivationLease:
    spec, network = ActivationSpec.model_validate(job.spec), job.network
    return ActivationLease(
        job_id=job.id,
        token=token,
        attempt=job.attempts,
        spec=spec,
        network=NetworkSource.model_validate(network.source),
        weights_hash=network.weights_hash,
        layers=chosen_layers(network, spec.layers),
        labels=tuple(network.labels or ()),
        filename=job.filename,
        input=parts_of(session, job.id, INPUT_FILE),
    )


def parts_of(session: Session, job_id: str, name: str) -> list[StoredPart]:
    """The pieces of a job's file, in order; none if there is no such file."""
    named = (ActivationFile.job_id == job_id, ActivationFile.name == name)
    rows = session.execute(select(ActivationFile.key, ActivationFile.bytes).where(*named).order_by(ActivationFile.part))
    return [StoredPart(key, size) for key, size in rows]
