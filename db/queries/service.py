"""Reads of the service itself: its workers, and how much waits for them."""

from datetime import datetime

from sqlalchemy import exists, func, or_, select
from sqlalchemy.orm import Session

from db import clock, tallies
from db.models import Atlas, AtlasState, Shard, ShardState, Tally, Worker
from db.queries.paging import View

SHOWN_SECONDS = 3600
"""Workers that are gone are shown for this long."""


class WorkerItem(View):
    """A worker, by its last heartbeat."""

    id: str
    host: str
    pid: int
    device: str
    queues: str
    versions: dict[str, str]
    activity: str
    alive: bool
    images_done: int
    busy_seconds: float
    started_at: datetime
    heartbeat_at: datetime
    stopped_at: datetime | None


class QueueView(View):
    """How much waits; shards of cancelled and finished atlases do not."""

    unplanned: int  # atlases that wait for a plan or are being planned
    pending: int  # shards
    running: int
    failed: int  # in all atlases that ended with failures or still run
    oldest_pending_seconds: float | None  # since the plan of the oldest atlas that has waiting shards


class ServiceView(View):
    """The workers that live (or stopped within the hour) and the queue."""

    workers: tuple[WorkerItem, ...]
    alive: int
    queue: QueueView


def get_service(session: Session, *, alive_seconds: float) -> ServiceView:
    """Workers and queue depth, as they are now by the database's clock.

    A worker that reported longer than `alive_seconds` ago counts as gone.
    """
    moment = clock.now(session)
    workers = tuple(_workers(session, moment, alive_seconds))
    return ServiceView(workers=workers, alive=sum(w.alive for w in workers), queue=_queue(session, moment))


def _workers(session: Session, moment: datetime, alive_seconds: float) -> list[WorkerItem]:
    recent = Worker.heartbeat_at >= clock.after(moment, -SHOWN_SECONDS)
    rows = session.scalars(select(Worker).where(recent).order_by(Worker.started_at, Worker.id))
    return [_worker(row, clock.after(moment, -alive_seconds)) for row in rows]


def _worker(row: Worker, since: datetime) -> WorkerItem:
    fields = {name: getattr(row, name) for name in WorkerItem.model_fields if name != "alive"}
    return WorkerItem(**fields, alive=row.stopped_at is None and row.heartbeat_at >= since)


def _queue(session: Session, moment: datetime) -> QueueView:
    """From the tallies: counting 100,000s of waiting shards each time somebody looks would cost too much."""
    running = session.scalar(select(func.count()).select_from(Shard).where(Shard.state == ShardState.RUNNING)) or 0
    planned, ended, failed = _tallied(session)
    unplanned = or_(Atlas.state == AtlasState.QUEUED, Atlas.state == AtlasState.PLANNING)
    waiting = exists().where(Shard.atlas_id == Atlas.id, Shard.state == ShardState.PENDING)
    oldest = session.scalar(select(func.min(Atlas.planned_at)).where(Atlas.state == AtlasState.RUNNING, waiting))
    return QueueView(
        unplanned=session.scalar(select(func.count()).select_from(Atlas).where(unplanned)) or 0,
        pending=max(0, planned - ended - running),
        running=running,
        failed=failed,
        oldest_pending_seconds=(moment - oldest).total_seconds() if oldest else None,
    )


def _tallied(session: Session) -> tuple[int, int, int]:
    """Shards of running atlases: planned, ended; and failed ones of all that ended with failures or still run."""
    sums = select(Atlas.state, Tally.state, func.sum(Tally.shards)).join_from(Tally, Atlas)
    shown = (AtlasState.RUNNING, AtlasState.COMPLETE_WITH_FAILURES)
    rows = session.execute(sums.where(Atlas.state.in_(shown)).group_by(Atlas.state, Tally.state))
    counts = {(atlas, tally): count for atlas, tally, count in rows}
    ended = sum(counts.get((AtlasState.RUNNING, state), 0) for state in tallies.ENDED)
    failed = sum(counts.get((state, ShardState.FAILED), 0) for state in shown)
    return counts.get((AtlasState.RUNNING, tallies.PLANNED), 0), ended, failed
