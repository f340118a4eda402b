"""The service in numbers, for monitoring: read often, so nothing here counts rows whose number grows with the work.

What an atlas has left comes from its tallies; what runs is as much as there are workers, and is found by an index.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, func, select
from sqlalchemy.orm import Session

from db import clock
from db.models import Atlas, AtlasState, Shard, ShardState, Tally, Worker
from db.tallies import ENDED, PLANNED

WAITING_STATES = (AtlasState.QUEUED, AtlasState.PLANNING)
UNDECIDED = "undecided"
"""The priority of an atlas that nobody gave one and no plan has decided yet."""


@dataclass(frozen=True)
class QueueDepth:
    """Shards that wait or run, of the running atlases for one kind of device and of one priority."""

    device_kind: str
    priority: str
    pending: int
    running: int


@dataclass(frozen=True)
class WorkerNumbers:
    """What a worker has done since it started."""

    id: str
    host: str
    device_kind: str
    alive: bool
    images_done: int
    busy_seconds: float


@dataclass(frozen=True)
class ServiceNumbers:
    """Everything at one moment, by the database's clock. Ages are in seconds, 0 where nothing waits."""

    queue: tuple[QueueDepth, ...]
    oldest_pending_seconds: float  # since the oldest atlas with waiting shards was planned
    idle_seconds: float  # since a running atlas with waiting shards was last planned or had a shard finished
    atlases: dict[str, int]  # by state; every state is there
    failed_shards: int  # of all atlases
    workers: tuple[WorkerNumbers, ...]  # that were there within the hour

    @property
    def unplanned(self) -> int:
        """Atlases that wait for a plan or are being planned."""
        return sum(self.atlases[state] for state in WAITING_STATES)

    def alive(self, device_kind: str) -> int:
        """Workers of that kind that live."""
        return sum(worker.alive for worker in self.workers if worker.device_kind == device_kind)


@dataclass(frozen=True)
class _Open:
    """What a running atlas has left."""

    device_kind: str
    priority: str
    pending: int
    running: int
    planned_at: datetime
    progressed_at: datetime


def read_numbers(session: Session, *, alive_seconds: float, shown_seconds: float) -> ServiceNumbers:
    """The numbers of the service now.

    Args:
        session: to read with.
        alive_seconds: a worker that reported longer ago counts as gone.
        shown_seconds: one that reported longer ago is left out.
    """
    moment = clock.now(session)
    left = [atlas for atlas in _open_atlases(session) if atlas.pending or atlas.running]
    waiting = [atlas for atlas in left if atlas.pending]
    return ServiceNumbers(
        queue=tuple(_depths(left)),
        oldest_pending_seconds=_age(moment, min((a.planned_at for a in waiting), default=None)),
        idle_seconds=_age(moment, max((a.progressed_at for a in waiting), default=None)),
        atlases=_atlases(session),
        failed_shards=session.scalar(select(func.sum(Tally.shards)).where(Tally.state == ShardState.FAILED)) or 0,
        workers=tuple(_workers(session, moment, alive_seconds, shown_seconds)),
    )


def read_queue(session: Session) -> tuple[QueueDepth, ...]:
    """What waits and runs, by kind of device and priority."""
    return tuple(_depths([atlas for atlas in _open_atlases(session) if atlas.pending or atlas.running]))


def _depths(left: list[_Open]) -> Iterator[QueueDepth]:
    for kind, priority in sorted({(atlas.device_kind, atlas.priority) for atlas in left}):
        mine = [atlas for atlas in left if (atlas.device_kind, atlas.priority) == (kind, priority)]
        yield QueueDepth(kind, priority, sum(a.pending for a in mine), sum(a.running for a in mine))


def _open_atlases(session: Session) -> Iterator[_Open]:
    running = dict(session.execute(_running_shards()).all())
    return (_open(row, running.get(row.id, 0)) for row in session.execute(_running_atlases()))


def _running_shards() -> Select[str, int]:
    return select(Shard.atlas_id, func.count()).where(Shard.state == ShardState.RUNNING).group_by(Shard.atlas_id)


def _running_atlases() -> Select[*tuple[Any, ...]]:
    """Every running atlas with the sums of its shards and when the last of them finished (the end of an index)."""
    planned = _tally(PLANNED).scalar_subquery()
    ended = _tally(*ENDED).scalar_subquery()
    finished = select(func.max(Shard.finished_at)).where(Shard.atlas_id == Atlas.id).scalar_subquery()
    return select(
        Atlas.id,
        Atlas.device_kind,
        Atlas.priority,
        Atlas.created_at,
        Atlas.planned_at,
        finished.label("last_finished_at"),
        func.coalesce(planned, 0).label("planned"),
        func.coalesce(ended, 0).label("ended"),
    ).where(Atlas.state == AtlasState.RUNNING)


def _tally(*states: str) -> Select[int]:
    return select(func.sum(Tally.shards)).where(Tally.atlas_id == Atlas.id, Tally.state.in_(states))


def _open(row: Row[*tuple[Any, ...]], running: int) -> _Open:
    planned_at = row.planned_at or row.created_at
    return _Open(
        device_kind=row.device_kind,
        priority=row.priority or UNDECIDED,
        pending=max(row.planned - row.ended - running, 0),
        running=running,
        planned_at=planned_at,
        progressed_at=max(planned_at, row.last_finished_at or planned_at),
    )


def _age(moment: datetime, since: datetime | None) -> float:
    return max((moment - since).total_seconds(), 0.0) if since else 0.0


def _atlases(session: Session) -> dict[str, int]:
    found = dict(session.execute(select(Atlas.state, func.count()).group_by(Atlas.state)).all())
    return {state.value: found.get(state.value, 0) for state in AtlasState}


def _workers(session: Session, moment: datetime, alive_seconds: float, shown_seconds: float) -> Iterator[WorkerNumbers]:
    since = clock.after(moment, -alive_seconds)
    recent = select(Worker).where(Worker.heartbeat_at >= clock.after(moment, -shown_seconds)).order_by(Worker.id)
    for row in session.scalars(recent):
        alive = row.stopped_at is None and row.heartbeat_at >= since
        yield WorkerNumbers(row.id, row.host, row.device_kind, alive, row.images_done, row.busy_seconds)
