"""Reads of atlases and of how far they are."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import and_, case, func, select
from sqlalchemy.orm import Session, joinedload

from core.errors import NotFound
from core.specs import AtlasSpec, DeviceKind, Priority
from db import clock
from db.models import Atlas, AtlasState, Network, Shard, ShardState
from db.queries.paging import View, cut, decode_cursor, encode_cursor
from db.queries.recipes import RecipeItem, recipe_item

RATE_SECONDS = 300
"""The rate is that of the shards finished within this time."""
MAX_FAILURES = 100


class Progress(View):
    """How far an atlas is. Images of a running shard count by the fraction that its worker last reported."""

    images: int  # 0 while not known
    images_done: int
    fraction: float  # 0..1
    shards: dict[ShardState, int]  # how many in each state; states without shards are left out
    images_per_second: float | None  # None while unknown or at rest
    seconds_left: float | None  # None while unknown or at rest


class Failure(View):
    """A shard that was given up."""

    shard: int
    layer: str
    recipe: RecipeItem
    units: tuple[int, ...]
    attempts: int
    error: str


class AtlasItem(View):
    """An atlas in a list."""

    id: str
    network: str
    state: AtlasState
    error: str | None
    spec: AtlasSpec
    owner: str
    device_kind: DeviceKind
    priority: Priority | None  # None: not asked for, and not planned yet
    weight: float
    created_at: datetime
    planned_at: datetime | None
    finished_at: datetime | None
    progress: Progress


class AtlasPage(View):
    """A page of atlases, newest first."""

    items: tuple[AtlasItem, ...]
    next_cursor: str | None


class AtlasView(AtlasItem):
    """An atlas with the first hundred shards that failed; `progress.shards` counts them all."""

    failures: tuple[Failure, ...]


class _Sums(View):
    """What one GROUP BY over an atlas's shards gives: sums over those in one state."""

    shards: int = 0
    images: int = 0
    images_part: float = 0.0  # each shard's images x fraction
    cost: float = 0.0
    cost_part: float = 0.0
    measured_seconds: float = 0.0  # over shards that were computed, not found done
    measured_cost: float = 0.0
    recent_images: int = 0  # of shards computed within RATE_SECONDS
    recent_start: datetime | None = None  # when the first of those was started
    earliest_start: datetime | None = None


def list_atlases(
    session: Session, *, network: str | None = None, limit: int = 20, cursor: str | None = None
) -> AtlasPage:
    """Atlases (of one network, if named), newest first.

    Raises:
        InvalidRequest: the cursor is not one of this list.
    """
    statement = select(Atlas).options(joinedload(Atlas.network)).order_by(Atlas.id.desc()).limit(limit + 1)
    if network is not None:
        statement = statement.where(Atlas.network.has(Network.name == network))
    if (after := decode_cursor(cursor, str)) is not None:
        statement = statement.where(Atlas.id < after[0])
    page, following = cut(session.scalars(statement).all(), limit, lambda atlas: encode_cursor(atlas.id))
    progress = _progress(session, page)
    return AtlasPage(items=tuple(_item(atlas, progress[atlas.id]) for atlas in page), next_cursor=following)


def get_atlas(session: Session, atlas_id: str) -> AtlasView:
    """The atlas of that id, with its progress and failures.

    Raises:
        NotFound: there is none.
    """
    atlas = _find(session, atlas_id)
    progress = _progress(session, [atlas])[atlas.id]
    failures = _failures(session, atlas) if progress.shards.get(ShardState.FAILED) else ()
    return AtlasView(**dict(_item(atlas, progress)), failures=failures)


def get_progress(session: Session, atlas_id: str) -> tuple[AtlasState, Progress]:
    """The state of the atlas of that id and how far it is, for those who look often.

    Raises:
        NotFound: there is none.
    """
    atlas = _find(session, atlas_id)
    return AtlasState(atlas.state), _progress(session, [atlas])[atlas.id]


def _find(session: Session, atlas_id: str) -> Atlas:
    atlas = session.get(Atlas, atlas_id, options=[joinedload(Atlas.network)])
    if atlas is None:
        raise NotFound(f"There is no atlas {atlas_id!r}.", "See the list of atlases.")
    return atlas


def _item(atlas: Atlas, progress: Progress) -> AtlasItem:
    return AtlasItem(
        id=atlas.id,
        network=atlas.network.name,
        state=AtlasState(atlas.state),
        error=atlas.error,
        spec=AtlasSpec.model_validate(atlas.spec),
        owner=atlas.owner,
        device_kind=DeviceKind(atlas.device_kind),
        priority=Priority(atlas.priority) if atlas.priority else None,
        weight=atlas.weight,
        created_at=atlas.created_at,
        planned_at=atlas.planned_at,
        finished_at=atlas.finished_at,
        progress=progress,
    )


def _failures(session: Session, atlas: Atlas) -> tuple[Failure, ...]:
    statement = select(Shard).options(joinedload(Shard.layer), joinedload(Shard.recipe)).order_by(Shard.id)
    failed = statement.where(Shard.atlas_id == atlas.id, Shard.state == ShardState.FAILED).limit(MAX_FAILURES)
    return tuple(_failure(shard) for shard in session.scalars(failed))


def _failure(shard: Shard) -> Failure:
    return Failure(
        shard=shard.id,
        layer=shard.layer.name,
        recipe=recipe_item(shard.recipe),
        units=tuple(shard.units),
        attempts=shard.attempts,
        error=shard.error or "",
    )


def _progress(session: Session, atlases: Sequence[Atlas]) -> dict[str, Progress]:
    moment = clock.now(session)
    sums = _sums(session, [atlas.id for atlas in atlases], clock.after(moment, -RATE_SECONDS))
    return {atlas.id: _of_atlas(atlas, sums[atlas.id], moment) for atlas in atlases}


def _sums(session: Session, ids: Sequence[str], since: datetime) -> dict[str, dict[ShardState, _Sums]]:
    """All that progress is made of, in one pass over the shards of the atlases."""
    recent = and_(Shard.finished_at >= since, Shard.seconds > 0)
    statement = select(
        Shard.atlas_id,
        Shard.state,
        func.count(),
        func.sum(Shard.images),
        func.sum(Shard.images * Shard.fraction),
        func.sum(Shard.cost_seconds),
        func.sum(Shard.cost_seconds * Shard.fraction),
        func.coalesce(func.sum(Shard.seconds), 0.0),
        func.sum(case((Shard.seconds > 0, Shard.cost_seconds), else_=0.0)),
        func.sum(case((recent, Shard.images), else_=0)),
        func.min(case((recent, Shard.started_at))),
        func.min(Shard.started_at),
    )
    found: dict[str, dict[ShardState, _Sums]] = {atlas_id: {} for atlas_id in ids}
    grouped = statement.where(Shard.atlas_id.in_(ids)).group_by(Shard.atlas_id, Shard.state)
    for atlas_id, state, *values in session.execute(grouped):
        found[atlas_id][ShardState(state)] = _Sums.model_validate(dict(zip(_Sums.model_fields, values, strict=True)))
    return found


def _of_atlas(atlas: Atlas, sums: dict[ShardState, _Sums], moment: datetime) -> Progress:
    done, running = sums.get(ShardState.DONE, _Sums()), sums.get(ShardState.RUNNING, _Sums())
    images_done = done.images + running.images_part
    at_work = atlas.state == AtlasState.RUNNING
    return Progress(
        images=atlas.images,
        images_done=int(images_done),
        fraction=min(1.0, images_done / atlas.images) if atlas.images else float(atlas.state == AtlasState.COMPLETE),
        shards={state: s.shards for state, s in sums.items()},
        images_per_second=_rate(done, running, moment) if at_work else None,
        seconds_left=_seconds_left(sums.get(ShardState.PENDING, _Sums()), running, done) if at_work else None,
    )


def _rate(done: _Sums, running: _Sums, moment: datetime) -> float | None:
    """Images a second, of shards finished lately and those at work, since the first of them was started."""
    starts = [start for start in (done.recent_start, running.earliest_start) if start is not None]
    images = done.recent_images + running.images_part
    elapsed = (moment - min(starts)).total_seconds() if starts else 0.0
    return images / elapsed if images and elapsed > 0 else None


def _seconds_left(pending: _Sums, running: _Sums, done: _Sums) -> float | None:
    """The planner's estimate for what remains, as far off as it was for what is done, over the shards at work now."""
    if not done.measured_cost:
        return None
    remaining = pending.cost + running.cost - running.cost_part
    return remaining * (done.measured_seconds / done.measured_cost) / max(1, running.shards)
