"""Networks, wishes, plans and results for database tests: small, real specifications."""

from collections.abc import Iterable, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.recipes import BOLD, FOURIER
from core.specs import AtlasSpec, DeviceKind, LayerInfo, NetworkInfo, NetworkSource, Priority, Recipe, ShardSpec, Window
from db import atlases, networks
from db.leases import atlases_with_expired, commit_shard, lease_shard, reap_expired
from db.models import AtlasState, Shard
from db.planning import begin_planning, extend_plan, finish_planning
from db.results import PictureRow, Pictures
from db.work import Lease, PreferredLease
from db.workers import WorkerBeat

SOURCE = NetworkSource(name="tiny", kind="bundled", builder="demo")
MAX_OPEN = 1000


def layer(name: str, order: int, units: int, **changes: object) -> LayerInfo:
    """A layer of `units` units that sees the whole input."""
    window = Window(top=0, left=0, height=8, width=8, position=(), full=True)
    given = {"name": name, "kind": "conv", "order": order, "units": units, "output_shape": (units, 4, 4)}
    fixed = {"unit_axis": 0, "read_at": name, "window": window}
    return LayerInfo.model_validate({**given, **fixed, **changes})


def info(source: NetworkSource = SOURCE, layers: Sequence[LayerInfo] = (), weights: str = "a") -> NetworkInfo:
    """A described network: "conv" of 6 units, "hidden" of 4 (on request), "classes" of 3 (labelled), unless given."""
    default = (
        layer("conv", 0, 6),
        layer("hidden", 1, 4, default=False),
        layer("classes", 2, 3, kind="linear", labelled=True),
    )
    return NetworkInfo(
        source=source,
        weights_hash=weights * 64,
        input_shape=(3, 8, 8),
        mean=(0.5, 0.5, 0.5),
        std=(0.2, 0.2, 0.2),
        labels=("tabby, tabby cat", "Lemon", "zebra"),
        parameters=1234,
        layers=tuple(layers) or default,
    )


def describe(session: Session, described: NetworkInfo | None = None) -> None:
    """Register and describe a network."""
    described = described or info()
    networks.register(session, described.source)
    networks.save_description(session, described.source.name, described)


def wish(recipes: Sequence[Recipe] = (FOURIER,), **changes: object) -> AtlasSpec:
    """A wish for an atlas of the network "tiny"."""
    return AtlasSpec.model_validate({"network": "tiny", "recipes": tuple(recipes), **changes})


def shards(
    layer_name: str, units: Iterable[Sequence[int]], recipe: Recipe = FOURIER, seeds: int = 1
) -> list[ShardSpec]:
    """One shard for each range of units, ten estimated seconds each."""
    name = recipe.content_hash()
    return [
        ShardSpec(
            layer=layer_name,
            recipe_hash=name,
            units=tuple(each),
            seeds=seeds,
            images=len(each) * seeds,
            cost_seconds=10,
        )
        for each in units
    ]


def running_atlas(
    session: Session,
    plan: Iterable[ShardSpec] | None = None,
    *,
    network: str = "tiny",
    seeds: int = 1,
    **columns: object,
) -> str:
    """The id of a batch atlas with a plan, by default three shards of two units of "conv"; `columns` are set on it."""
    spec = wish((FOURIER, BOLD), network=network, seeds=seeds)
    atlas, _ = atlases.create(session, spec, max_open=MAX_OPEN)
    for name, value in {"priority": Priority.BATCH, **columns}.items():
        setattr(atlas, name, value)
    session.flush()
    save_plan(session, atlas.id, shards("conv", [(0, 1), (2, 3), (4, 5)], seeds=seeds) if plan is None else plan)
    return atlas.id


def save_plan(session: Session, atlas_id: str, plan: Iterable[ShardSpec]) -> AtlasState:
    """Plan the atlas, as one planner does in one go; its state then."""
    lease = begin_planning(session, atlas_id, 60)
    assert lease is not None
    extend_plan(session, lease, 0, list(plan))
    return finish_planning(session, lease)


def picture(unit: int, seed: int = 0, **changes: object) -> PictureRow:
    """A result for an address, with a picture."""
    values = {
        "unit": unit, "seed": seed, "state": "ok", "blob": f"{unit:064x}", "sheet": "c" * 64, "sheet_index": unit % 64,
        "width": 8, "height": 8, "activation": float(unit), "best_step": 9, "strongest_step": 2, "seconds": 0.5,
        "device": "cpu", "precision": "float32", "library_version": "0",
    }  # fmt: skip
    return PictureRow(**{**values, **changes})  # type: ignore[arg-type]  # one dictionary of mixed values


def store(
    session: Session,
    layer_name: str,
    rows: Sequence[PictureRow],
    recipe: Recipe = FOURIER,
    *,
    network: str = "tiny",
) -> None:
    """Store pictures by way of an atlas of their own."""
    seeds = 1 + max(row.seed for row in rows)
    plan = shards(layer_name, [sorted({row.unit for row in rows})], recipe, seeds)
    atlas_id = running_atlas(session, plan, network=network, seeds=seeds)
    lease = lease_shard(session, session.scalars(select(Shard.id).where(Shard.atlas_id == atlas_id)).one(), "w", 60)
    assert lease is not None
    commit_shard(session, lease, Pictures(rows))


def results(lease: Lease) -> Pictures:
    """A picture for every address of the lease."""
    assert isinstance(lease, PreferredLease)
    return Pictures([picture(unit, seed) for unit, seed in lease.addresses])


def worker_beat(worker_id: str = "w", **changes: object) -> WorkerBeat:
    """What a worker on a CPU says of itself."""
    values = {
        "id": worker_id, "host": "h", "pid": 1, "device": "cpu", "device_kind": DeviceKind.CPU, "queues": "shards",
        "versions": {"torch": "2"},
    }  # fmt: skip
    return WorkerBeat(**{**values, **changes})  # type: ignore[arg-type]  # one dictionary of mixed values


def reap(session: Session, max_attempts: int) -> list[int]:
    """End every lease that ran out, as workers do one atlas after the other; the shards that wait again."""
    return [
        shard_id
        for atlas_id in atlases_with_expired(session)
        for shard_id in reap_expired(session, atlas_id, max_attempts)
    ]
