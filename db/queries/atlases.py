"""Reads of atlases and of how far they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Select, bindparam, func, select, union_all
from sqlalchemy.orm import Session, joinedload

from core.errors import NotFound
from core.specs import AtlasSpec, DeviceKind, Priority, ShardKind
from db import clock, tallies
from db.models import Atlas, AtlasState, Network, Shard, ShardState
from db.probe_models import PassState, ProbePass, ProbeSet
from db.queries.paging import View, cut, decode_cursor, encode_cursor
from db.queries.recipes import RecipeItem, recipe_item
from db.tallies import AtlasTallies

RATE_SECONDS = 300
"""The rate is that of the shards finished within this time ..."""
RATE_SHARDS = 500
"""... and of no more than the last so many: a busy service finishes thousands, and people look often."""
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
    kind: ShardKind
    layer: str | None  # None where it is about all layers
    recipe: RecipeItem | None  # of preferred pictures
    units: tuple[int, ...]
    first_image: int | None  # of the probe set, where it is about a range of its images
    last_image: int | None
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
    unread_images: int  # of its probe set, left out of the pass: the set's list of skipped files says which and why


class _Known(NamedTuple):
    """What progress needs of an atlas, which may hold a long wish: a row of `_KNOWN`."""

    id: str
    state: str
    images: int


@dataclass(frozen=True, kw_only=True)
class _AtWork:
    """What the shards at work now add up to, and those finished lately."""

    shards: int = 0
    images_part: float = 0.0  # each shard's images x fraction
    cost_part: float = 0.0
    earliest_start: datetime | None = None
    recent_images: int = 0  # of the last shards computed: see RATE_SECONDS
    recent_start: datetime | None = None  # when the first of those was started


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
    return AtlasView(**dict(_item(atlas, progress)), failures=failures, unread_images=_unread(session, atlas_id))


def get_progress(session: Session, atlas_id: str) -> tuple[AtlasState, Progress]:
    """The state of the atlas of that id and how far it is, for those who look often.

    Raises:
        NotFound: there is none.
    """
    found = session.connection().execute(_KNOWN, {"atlas": atlas_id}).one_or_none()
    if found is None:
        raise _no_atlas(atlas_id)
    return AtlasState(found.state), _progress(session, [_Known._make(found)])[atlas_id]


def _find(session: Session, atlas_id: str) -> Atlas:
    atlas = session.get(Atlas, atlas_id, options=[joinedload(Atlas.network)])
    if atlas is None:
        raise _no_atlas(atlas_id)
    return atlas


def _no_atlas(atlas_id: str) -> NotFound:
    return NotFound(f"There is no atlas {atlas_id!r}.", "See the list of atlases.")


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


def _unread(session: Session, atlas_id: str) -> int:
    """How many images a pass that has looked at all of them left out."""
    merged = select(ProbeSet.images - ProbePass.images).join(ProbePass.set)
    mine = merged.where(ProbePass.atlas_id == atlas_id, ProbePass.state == PassState.MERGED)
    return max(0, session.scalar(mine) or 0)


def _failures(session: Session, atlas: Atlas) -> tuple[Failure, ...]:
    statement = select(Shard).options(joinedload(Shard.layer), joinedload(Shard.recipe)).order_by(Shard.id)
    failed = statement.where(Shard.atlas_id == atlas.id, Shard.state == ShardState.FAILED).limit(MAX_FAILURES)
    return tuple(_failure(shard) for shard in session.scalars(failed))


def _failure(shard: Shard) -> Failure:
    return Failure(
        shard=shard.id,
        kind=ShardKind(shard.kind),
        layer=shard.layer.name if shard.layer else None,
        recipe=recipe_item(shard.recipe) if shard.recipe else None,
        units=tuple(shard.units),
        first_image=shard.first if shard.kind == ShardKind.PROBE else None,
        last_image=shard.last if shard.kind == ShardKind.PROBE else None,
        attempts=shard.attempts,
        error=shard.error or "",
    )


def _progress(session: Session, atlases: Sequence[Atlas | _Known]) -> dict[str, Progress]:
    """Progress from the tallies and the few shards at work: it costs the same however many shards there are."""
    moment = clock.now(session)
    counted = tallies.of_atlases(session, [atlas.id for atlas in atlases])
    at_work = _at_work(session, atlases)
    return {atlas.id: _of_atlas(atlas, counted[atlas.id], at_work[atlas.id], moment) for atlas in atlases}


def _at_work(session: Session, atlases: Sequence[Atlas | _Known]) -> dict[str, _AtWork]:
    execute = session.connection().execute
    found: dict[str, dict[str, Any]] = {atlas.id: {} for atlas in atlases}
    for atlas_id, *values in execute(_RUNNING, {"atlases": list(found)}):
        found[atlas_id].update(zip(("shards", "images_part", "cost_part", "earliest_start"), values, strict=True))
    get_on = {f"atlas{n}": atlas.id for n, atlas in enumerate(a for a in atlases if a.state == AtlasState.RUNNING)}
    for atlas_id, *values in execute(_recent(len(get_on)), get_on) if get_on else ():
        found[atlas_id].update(zip(("recent_images", "recent_start"), values, strict=True))
    return {atlas_id: _AtWork(**values) for atlas_id, values in found.items()}


_KNOWN = select(Atlas.id, Atlas.state, Atlas.images).where(Atlas.id == bindparam("atlas"))
_RUNNING = (
    select(
        Shard.atlas_id,
        func.count(),
        func.sum(Shard.images * Shard.fraction),
        func.sum(Shard.cost_seconds * Shard.fraction),
        func.min(Shard.started_at),
    )
    .where(Shard.atlas_id.in_(bindparam("atlases", expanding=True)), Shard.state == ShardState.RUNNING)
    .group_by(Shard.atlas_id)
)


@cache
def _recent(atlases: int) -> Select[str, int, datetime]:
    """Of so many atlases, each named by a parameter: id, images and first start of the shards computed lately."""
    last = (
        select(Shard.atlas_id, Shard.images, Shard.started_at)
        .where(Shard.finished_at >= clock.later(-RATE_SECONDS), Shard.seconds > 0)
        .order_by(Shard.finished_at.desc())
        .limit(RATE_SHARDS)
    )
    parts = [select(last.where(Shard.atlas_id == bindparam(f"atlas{n}")).subquery()) for n in range(atlases)]
    lately = union_all(*parts).subquery().c
    return select(lately.atlas_id, func.sum(lately.images), func.min(lately.started_at)).group_by(lately.atlas_id)


def _of_atlas(atlas: Atlas | _Known, counted: AtlasTallies, now: _AtWork, moment: datetime) -> Progress:
    images_done = counted[ShardState.DONE].images + now.images_part
    runs = atlas.state == AtlasState.RUNNING
    return Progress(
        images=atlas.images,
        images_done=int(images_done),
        fraction=min(1.0, images_done / atlas.images) if atlas.images else float(atlas.state == AtlasState.COMPLETE),
        shards=_shards(counted, now),
        images_per_second=_rate(now, moment) if runs else None,
        seconds_left=_seconds_left(counted, now) if runs else None,
    )


def _shards(counted: AtlasTallies, now: _AtWork) -> dict[ShardState, int]:
    # A shard may have ended between two reads: it is not counted as waiting.
    pending = max(0, counted.open_shards - now.shards)
    numbers = {ShardState.PENDING: pending, ShardState.RUNNING: now.shards}
    numbers |= {state: counted[state].shards for state in tallies.ENDED}
    return {state: number for state, number in numbers.items() if number}


def _rate(now: _AtWork, moment: datetime) -> float | None:
    """Images a second, of shards finished lately and those at work, since the first of them was started."""
    starts = [start for start in (now.recent_start, now.earliest_start) if start is not None]
    images = now.recent_images + now.images_part
    elapsed = (moment - min(starts)).total_seconds() if starts else 0.0
    return images / elapsed if images and elapsed > 0 else None


def _seconds_left(counted: AtlasTallies, now: _AtWork) -> float | None:
    """The planner's estimate for what remains, as far off as it was for what is done, over the shards at work now."""
    done = counted[ShardState.DONE]
    if not done.computed_cost_seconds:
        return None
    remaining = max(0.0, counted.open_cost_seconds - now.cost_part)
    return remaining * (done.computed_seconds / done.computed_cost_seconds) / max(1, now.shards)
