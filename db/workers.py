"""Commands on workers: they report that they live, and that they stop."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from core.live import LIVE_QUEUE
from core.specs import DeviceKind
from db import clock
from db.bulk import Insert, insert_on
from db.models import Worker

FORGET_SECONDS = 24 * 3600.0
FORGOTTEN_AT_ONCE = 1000


@dataclass(frozen=True, kw_only=True)
class WorkerBeat:
    """What a worker says about itself with every heartbeat."""

    id: str  # host:pid:random
    host: str
    pid: int
    device: str
    device_kind: DeviceKind
    queues: str
    versions: Mapping[str, str]
    activity: str = "idle"  # what it is doing, for people


def beat(session: Session, worker: WorkerBeat) -> None:
    """Note that the worker lives and what it does; the first beat makes it known."""
    said = {**_fitting(worker), "versions": dict(worker.versions), "id": worker.id}
    session.connection().execute(_beating(session.get_bind().dialect.name), said)


@cache
def _beating(dialect: str) -> Insert:
    """What makes a worker known, or says what it does now; made once, as it is said often."""
    new, now = insert_on(dialect, Worker), clock.later(0)
    said = {name: new.excluded[name] for name in ("host", "pid", "device", "device_kind", "queues", "activity")}
    known = {**said, "versions": new.excluded.versions, "heartbeat_at": now, "stopped_at": None}
    first = new.values(heartbeat_at=now, started_at=now, stopped_at=None)
    return first.on_conflict_do_update(index_elements=["id"], set_=known)


def _fitting(worker: WorkerBeat) -> dict[str, str | int]:
    """What people read, no longer than its columns."""
    return {
        "host": worker.host[:80],
        "pid": worker.pid,
        "device": worker.device[:80],
        "device_kind": worker.device_kind,
        "queues": worker.queues[:200],
        "activity": worker.activity[:200],
    }


def stop(session: Session, worker_id: str) -> None:
    """Note that the worker has ended in order."""
    session.execute(
        update(Worker).where(Worker.id == worker_id).values(stopped_at=clock.now(session), activity="stopped")
    )


def forget(session: Session, *, silent_seconds: float = FORGET_SECONDS) -> int:
    """Delete workers whose last heartbeat is older than `silent_seconds`, stopped or not; how many those were.

    At most `FORGOTTEN_AT_ONCE`, the others next time. Each start of a worker adds one. Shards and pictures name workers
    and devices in words of their own, not by key. One that was only frozen is known again from its next heartbeat on.
    """
    since = clock.after(clock.now(session), -silent_seconds)
    # In the order of their ids, and never waiting for one that beats at this moment.
    silent = select(Worker.id).where(Worker.heartbeat_at < since).order_by(Worker.id).limit(FORGOTTEN_AT_ONCE)
    ids = session.scalars(silent.with_for_update(skip_locked=True)).all()
    gone = delete(Worker).where(Worker.id.in_(ids)).returning(Worker.id)
    return len(session.scalars(gone.execution_options(synchronize_session=False)).all())


def live(session: Session, within_seconds: float) -> Counter[DeviceKind]:
    """How many workers of each kind have reported within the last `within_seconds` and have not stopped.

    Live workers, which take no shards, are not among them.
    """
    rows = session.connection().execute(_LIVE, {"since": -within_seconds})
    return Counter({DeviceKind(kind): n for kind, n in rows})


_LIVE = (
    select(Worker.device_kind, func.count())
    .where(Worker.stopped_at.is_(None), Worker.heartbeat_at >= clock.later("since"), Worker.queues != LIVE_QUEUE)
    .group_by(Worker.device_kind)
)


def lives_on(session: Session, host: str, within_seconds: float) -> bool:
    """Whether a worker of `host` has reported within the last `within_seconds` and has not stopped."""
    since = clock.after(clock.now(session), -within_seconds)
    statement = select(Worker.id).where(Worker.host == host[:80], Worker.stopped_at.is_(None))
    return session.scalar(statement.where(Worker.heartbeat_at >= since).limit(1)) is not None
