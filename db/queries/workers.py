"""The workers one by one, for the page that shows them: what each does now, and how fast it was lately."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session, joinedload

from core.specs import ShardKind
from db import clock
from db.models import Atlas, AtlasState, Layer, Network, Recipe, Shard, ShardState, Worker
from db.queries.metrics import QueueDepth, read_queue
from db.queries.service import SHOWN_SECONDS

LATELY_SECONDS = 300


@dataclass(frozen=True)
class Job:
    """A shard that a worker computes now."""

    atlas_id: str
    network: str
    kind: ShardKind
    layer: str | None  # None where it is about all layers
    units: tuple[int, ...]
    images: tuple[int, int]  # first and last of the probe set, where it is about a range of its images
    recipe: str  # title; empty where it is not about preferred pictures
    fraction: float
    seconds: float  # since it began


@dataclass(frozen=True)
class WorkerDetails:
    """A worker by its last heartbeat; ages by the database's clock."""

    id: str
    host: str
    pid: int
    device: str
    device_kind: str
    versions: Mapping[str, str]
    activity: str
    jobs: tuple[Job, ...]  # the oldest first
    alive: bool
    stopped: bool  # it said goodbye
    heartbeat_seconds: float  # since its last heartbeat
    up_seconds: float  # from its start until now, or its last heartbeat
    images_done: int
    shards_done: int
    shards_failed: int
    images_per_second: float | None  # over its computing time; None: nothing is done yet
    lately_per_second: float | None  # over the last LATELY_SECONDS, or since its start; None: it is gone


@dataclass(frozen=True)
class Workforce:
    """The workers that live, those that went within the hour, and what waits for them."""

    workers: tuple[WorkerDetails, ...]  # the living first
    queue: tuple[QueueDepth, ...]
    unplanned: int

    @property
    def alive(self) -> list[WorkerDetails]:
        """Those that live."""
        return [worker for worker in self.workers if worker.alive]


def get_workforce(session: Session, *, alive_seconds: float) -> Workforce:
    """Everything that the workers' page shows, as it is now.

    A worker that reported longer than `alive_seconds` ago counts as gone.
    """
    moment = clock.now(session)
    workers = _workers(session, moment, alive_seconds)
    unplanned = or_(Atlas.state == AtlasState.QUEUED, Atlas.state == AtlasState.PLANNING)
    return Workforce(
        workers=tuple(sorted(workers, key=lambda w: (not w.alive, w.host, w.device_kind, w.id))),
        queue=read_queue(session),
        unplanned=session.scalar(select(func.count()).select_from(Atlas).where(unplanned)) or 0,
    )


def _workers(session: Session, moment: datetime, alive_seconds: float) -> Iterator[WorkerDetails]:
    jobs, lately = _jobs(session, moment), _lately(session, moment)
    recent = select(Worker).where(Worker.heartbeat_at >= clock.after(moment, -SHOWN_SECONDS))
    for row in session.scalars(recent):
        silent = (moment - row.heartbeat_at).total_seconds()
        alive = row.stopped_at is None and silent <= alive_seconds
        yield _details(row, moment, tuple(jobs[row.id]) if alive else (), lately.get(row.id, 0), alive=alive)


def _details(row: Worker, moment: datetime, jobs: tuple[Job, ...], images_lately: int, *, alive: bool) -> WorkerDetails:
    up = ((moment if alive else row.heartbeat_at) - row.started_at).total_seconds()
    window = min(LATELY_SECONDS, max((moment - row.started_at).total_seconds(), 1.0))
    return WorkerDetails(
        id=row.id,
        host=row.host,
        pid=row.pid,
        device=row.device,
        device_kind=row.device_kind,
        versions=row.versions,
        activity=row.activity,
        jobs=jobs,
        alive=alive,
        stopped=row.stopped_at is not None,
        heartbeat_seconds=max((moment - row.heartbeat_at).total_seconds(), 0.0),
        up_seconds=max(up, 0.0),
        images_done=row.images_done,
        shards_done=row.shards_done,
        shards_failed=row.shards_failed,
        images_per_second=row.images_done / row.busy_seconds if row.busy_seconds > 0 else None,
        lately_per_second=images_lately / window if alive else None,
    )


def _jobs(session: Session, moment: datetime) -> Mapping[str, list[Job]]:
    """What runs, by worker: found by the state's index, and never more than a few for each worker."""
    shown = joinedload(Shard.layer).load_only(Layer.name), joinedload(Shard.recipe).load_only(Recipe.title, Recipe.name)
    running = select(Shard, Network.name).join(Atlas, Atlas.id == Shard.atlas_id).join(Atlas.network)
    running = running.where(Shard.state == ShardState.RUNNING).order_by(Shard.started_at, Shard.id)
    found: dict[str, list[Job]] = defaultdict(list)
    for shard, network in session.execute(running.options(*shown)):
        found[shard.lease_worker or ""].append(_job(shard, network, moment))
    return found


def _job(shard: Shard, network: str, moment: datetime) -> Job:
    return Job(
        atlas_id=shard.atlas_id,
        network=network,
        kind=ShardKind(shard.kind),
        layer=shard.layer.name if shard.layer else None,
        units=tuple(shard.units),
        images=(shard.first, shard.last),
        recipe=(shard.recipe.title or shard.recipe.name) if shard.recipe else "",
        fraction=shard.fraction,
        seconds=(moment - shard.started_at).total_seconds() if shard.started_at else 0.0,
    )


def _lately(session: Session, moment: datetime) -> Mapping[str, int]:
    """Images of the shards that each worker finished lately, by the index of each atlas that runs or just ended."""
    since = clock.after(moment, -LATELY_SECONDS)
    atlases = select(Atlas.id).where(or_(Atlas.state == AtlasState.RUNNING, Atlas.finished_at >= since))
    done = select(Shard.lease_worker, func.sum(Shard.images)).where(
        Shard.atlas_id.in_(atlases), Shard.finished_at >= since, Shard.state == ShardState.DONE
    )
    return {worker: images for worker, images in session.execute(done.group_by(Shard.lease_worker)) if worker}
