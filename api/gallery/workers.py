"""What the page of the workers says of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from api.gallery import addresses
from api.gallery.words import count, duration, percent, plural, rate, unit_ranges, work_words
from core.specs import ShardKind
from db.queries.metrics import QueueDepth
from db.queries.workers import Job, WorkerDetails, Workforce

KINDS = {"gpu": "GPU", "cpu": "CPU", "any": "any device"}
PRIORITIES = {"interactive": "interactive", "batch": "batch", "undecided": "not decided yet"}
MOST_RANGES = 40  # characters of a job's units
JUST_NOW_SECONDS = 10


@dataclass(frozen=True)
class JobWords:
    """What a worker does now, in words."""

    layer: str
    layer_address: str
    network: str
    atlas_address: str
    what: str  # units and style
    fraction: float
    since: str


@dataclass(frozen=True)
class WorkerCard:
    """A worker in words."""

    key: str  # for the page's script
    kind: str
    host: str
    device: str  # and which process on it
    state: str
    state_class: str
    alive: bool
    jobs: list[JobWords]
    idle: str  # what it does if it has no job
    numbers: list[tuple[str, str]]
    versions: str


@dataclass(frozen=True)
class QueueRow:
    """What waits and runs for one kind of device, of one priority."""

    kind: str
    priority: str
    pending: str
    running: str


@dataclass(frozen=True)
class WorkersPage:
    """The whole page."""

    alive: list[WorkerCard]
    gone: list[WorkerCard]
    summary: list[str]
    queue: list[QueueRow]
    alarm: str  # empty: nothing is wrong


def workers_page(force: Workforce) -> WorkersPage:
    """The page of `force`."""
    cards = [worker_card(worker) for worker in force.workers]
    return WorkersPage(
        alive=[card for card in cards if card.alive],
        gone=[card for card in cards if not card.alive],
        summary=_summary(force),
        queue=[_queue_row(depth) for depth in force.queue],
        alarm=_alarm(force),
    )


def worker_card(worker: WorkerDetails) -> WorkerCard:
    """A worker as its card shows it."""
    state, state_class = _state(worker)
    return WorkerCard(
        key=worker.id,
        kind=KINDS.get(worker.device_kind, worker.device_kind),
        host=worker.host,
        device=_device(worker),
        state=state,
        state_class=state_class,
        alive=worker.alive,
        jobs=[_job(job) for job in worker.jobs],
        idle="" if worker.jobs or not worker.alive else _idle(worker.activity),
        numbers=_numbers(worker),
        versions=" · ".join(f"{name} {number}" for name, number in worker.versions.items()),
    )


def _device(worker: WorkerDetails) -> str:
    if worker.device.lower() == worker.device_kind:
        return f"Process {worker.pid}"
    return f"{worker.device.replace('-', ' ')}, process {worker.pid}"


def _state(worker: WorkerDetails) -> tuple[str, str]:
    if worker.alive:
        return ("Working", "live") if worker.jobs else ("Idle", "good")
    how = "Stopped" if worker.stopped else "Gone"
    return f"{how} {duration(worker.heartbeat_seconds)} ago", "" if worker.stopped else "bad"


def _idle(activity: str) -> str:
    return "Waiting for work" if activity == "idle" else activity[:1].upper() + activity[1:]


def _job(job: Job) -> JobWords:
    return JobWords(
        layer=job.layer or "all layers",
        layer_address=addresses.layer(job.network, job.layer) if job.layer else addresses.network(job.network),
        network=job.network,
        atlas_address=f"/atlases/{job.atlas_id}",
        what=_what(job),
        fraction=min(max(job.fraction, 0.0), 1.0),
        since=f"{percent(job.fraction)}, {work_words(job.kind, job.recipe)}, for {duration(job.seconds)}",
    )


def _what(job: Job) -> str:
    if job.kind == ShardKind.PROBE:
        return f"images {job.images[0]}–{job.images[1]}"
    if job.kind == ShardKind.MERGE:
        return "all units"
    ranges = unit_ranges(job.units)
    if len(ranges) > MOST_RANGES:
        return plural(len(job.units), "unit")
    return f"{'unit' if len(job.units) == 1 else 'units'} {ranges}"


def _numbers(worker: WorkerDetails) -> list[tuple[str, str]]:
    """Pairs of a name and what it is; of one that is gone, what it did."""
    speed = rate(worker.images_per_second) if worker.images_per_second else "not known yet"
    did = [("Speed", speed), ("Pictures", count(worker.images_done)), ("Shards", _shards(worker))]
    if not worker.alive:
        return did
    lately = rate(worker.lately_per_second) if worker.lately_per_second else "none"
    beat = "just now" if worker.heartbeat_seconds < JUST_NOW_SECONDS else f"{duration(worker.heartbeat_seconds)} ago"
    return [*did, ("Last 5 minutes", lately), ("Up", duration(worker.up_seconds)), ("Heartbeat", beat)]


def _shards(worker: WorkerDetails) -> str:
    failed = f", {count(worker.shards_failed)} failed" if worker.shards_failed else ""
    return f"{count(worker.shards_done)}{failed}"


def _summary(force: Workforce) -> list[str]:
    alive = force.alive
    if not alive:
        return ["No worker is alive"]
    kinds = [_of_kind(alive, kind) for kind in ("gpu", "cpu")]
    lately = sum(worker.lately_per_second or 0 for worker in alive)
    busy = sum(bool(worker.jobs) for worker in alive)
    pace = rate(lately).replace(" a ", " pictures a ", 1) if lately else "nothing finished lately"
    return [", ".join(filter(None, kinds)), f"{busy} of {len(alive)} working", pace]


def _of_kind(workers: Sequence[WorkerDetails], kind: str) -> str:
    number = sum(worker.device_kind == kind for worker in workers)
    return plural(number, f"{KINDS[kind]} worker") if number else ""


def _queue_row(depth: QueueDepth) -> QueueRow:
    return QueueRow(
        kind=KINDS.get(depth.device_kind, depth.device_kind),
        priority=PRIORITIES.get(depth.priority, depth.priority),
        pending=count(depth.pending),
        running=count(depth.running),
    )


def _alarm(force: Workforce) -> str:
    """What keeps work from being done."""
    pending = sum(depth.pending for depth in force.queue)
    kinds = {worker.device_kind for worker in force.alive}
    if not kinds and (pending or force.unplanned):
        waits = plural(pending, "shard") if pending else plural(force.unplanned, "atlas", "atlases")
        return f"{waits} {'waits' if (pending or force.unplanned) == 1 else 'wait'}, and no worker is alive."
    missing = sorted({d.device_kind for d in force.queue if d.pending and d.device_kind not in {*kinds, "any"}})
    if missing:
        return f"Work waits for a {KINDS.get(missing[0], missing[0])}, and no worker that is alive has one."
    return ""
