"""A probe set, and atlases that ask for a pass over it, for database tests."""

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.specs import BackwardKind, ProbeWish, ShardKind, ShardSpec
from db import atlases, clock, passes
from db.leases import commit_shard, lease_shard
from db.models import AtlasState, Shard, ShardState
from db.passes import Merged, Part, UnitRow, ViewRow, Views
from db.planning import begin_planning, extend_plan, finish_planning
from db.probe_models import ProbeImage, ProbeSet, ProbeSetState
from db.results import Result
from db.work import BackwardLease, Lease, MergeLease, PreferredLease, ProbeLease
from tests.integration import records

SET_ID = "01JPROBESET000000000000001"
IMAGES = 10


def probe_set(session: Session, set_id: str = SET_ID, name: str = "photos", images: int = IMAGES) -> str:
    """A ready set of images with two labels; its id."""
    moment = clock.now(session)
    session.add(
        ProbeSet(
            id=set_id,
            name=name,
            origin="a test",
            owner="local",
            state=ProbeSetState.READY,
            labels=["cat", "dog"],
            images=images,
            content_hash=set_id.ljust(64, "0"),
            created_at=moment,
            finished_at=moment,
        )
    )
    session.flush()
    session.add_all(
        ProbeImage(set_id=set_id, number=n, key=f"{n:064x}", name=f"{n}.png", label=n % 2, width=8, height=8)
        for n in range(images)
    )
    session.flush()
    return set_id


def probe_atlas(
    session: Session, ranges: Iterable[tuple[int, int]] = ((0, 3), (4, 7), (8, 9)), **changes: object
) -> str:
    """The id of a running atlas of a pass alone, over all units of "conv" and "classes"."""
    wish = ProbeWish.model_validate({"set": SET_ID, "top": 2, **changes})
    spec = records.wish((), probe=wish)
    atlas, _ = atlases.create(session, spec, max_open=records.MAX_OPEN)
    lease = begin_planning(session, atlas.id, 60)
    assert lease is not None
    if passes.begin_pass(session, lease, 4):
        extend_plan(session, lease, 0, [probe_range(first, last) for first, last in ranges])
    finish_planning(session, lease)
    return atlas.id


def probe_range(first: int, last: int) -> ShardSpec:
    """The shard of a range of images, two estimated seconds each."""
    images = last - first + 1
    return ShardSpec(kind=ShardKind.PROBE, first=first, last=last, images=images, cost_seconds=2.0 * images)


def take_next(session: Session, atlas_id: str) -> Lease | None:
    """A lease of the atlas's next waiting shard, if there is one."""
    waiting = select(Shard.id).where(Shard.atlas_id == atlas_id, Shard.state == ShardState.PENDING)
    shard_id = session.scalar(waiting.order_by(Shard.id).limit(1))
    return None if shard_id is None else lease_shard(session, shard_id, "w", 60)


def outcome(lease: Lease) -> Result:
    """What a worker could have computed of the lease."""
    match lease:
        case PreferredLease():
            return records.results(lease)
        case ProbeLease():
            return part(lease)
        case MergeLease():
            return merged(lease)
        case BackwardLease():
            return views(lease)
    raise TypeError(type(lease).__name__)


def part(lease: ProbeLease, skipped: tuple[tuple[str, str], ...] = ()) -> Part:
    """Answers to a range."""
    blobs = {layer_id: f"{lease.first:032x}{layer_id:032x}" for layer_id, _ in lease.layers}
    return Part(blobs=blobs, images=lease.last - lease.first + 1 - len(skipped), skipped=skipped, seconds=1.0)


def unit_row(unit: int, **changes: object) -> UnitRow:
    """One unit's answers: two top images, two labels."""
    values = {
        "unit": unit, "mean": 1.0, "deviation": 0.5, "lowest": 0.0, "highest": 2.0 + unit, "active": 0.9,
        "sparseness": 0.3, "selectivity": 0.4, "dead": False, "histogram": [(0.0, 1.0, 5), (1.0, 2.0, 5)],
        "labels": [(1, 1.5, 1.0), (0, 0.5, -1.0)], "tops": {"top": [(unit % 10, 2.0 + unit, 3), (9, 1.0, 0)]},
    }  # fmt: skip
    return UnitRow(**{**values, **changes})  # type: ignore[arg-type]  # one dictionary of mixed values


def store_layers(session: Session, lease: MergeLease) -> None:
    """What is put together, of every layer."""
    for layer_id, layer in lease.layers:
        passes.store_layer(session, lease, layer_id, f"{layer_id:064x}", [unit_row(n) for n in range(layer.units)])


def merged(lease: MergeLease) -> Merged:
    """Everything put together; a shard of views for each layer."""
    views = [
        ShardSpec(
            kind=ShardKind.BACKWARD,
            layer=layer.name,
            units=tuple(range(layer.units)),
            images=layer.units * lease.wish.top,
            cost_seconds=3.0,
        )
        for _, layer in lease.layers
    ]
    [(first, _), *_] = lease.layers
    return Merged(similar={(first, 0): [(first, 1, 0.9)]}, views=views, seconds=1.0)


def views(lease: BackwardLease) -> Views:
    """Crops and views of every unit of the lease."""
    rows = [
        ViewRow(unit=unit, side="top", kind=kind, blob=f"{unit:064x}", why=None, columns=2, count=2, width=8, height=8)
        for unit in lease.units
        for kind in ("crop", *BackwardKind)
    ]
    return Views(rows=rows, images=len(lease.tops), seconds=1.0)


def finish(session: Session, atlas_id: str) -> AtlasState:
    """Do everything that is left of the atlas; its state then."""
    state = AtlasState.RUNNING
    while (lease := take_next(session, atlas_id)) is not None:
        if isinstance(lease, MergeLease):
            store_layers(session, lease)
        state = commit_shard(session, lease, outcome(lease))
    return state
