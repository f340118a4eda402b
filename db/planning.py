"""Commands of planning: one planner at a time, one plan for ever, 100,000 shards in one go."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import func, insert, or_, select, update
from sqlalchemy.orm import Session

from core.errors import UnknownLayer, nearest
from core.specs import AtlasSpec, ShardSpec
from db import clock
from db.bulk import CHUNK_ROWS, chunks
from db.completion import finish_if_done, lock_atlas, start
from db.models import Atlas, AtlasState, Layer, Picture, Shard, ShardState

MAX_PLAN_ATTEMPTS = 3
PLAN_STALE_SECONDS = 30
"""A queued atlas that no planner has taken up for this long needs a message again."""


def begin_planning(session: Session, atlas_id: str, lease_seconds: float) -> AtlasSpec | None:
    """Make the caller the atlas's planner for `lease_seconds`; None if it needs no plan or has a planner.

    Raises:
        NotFound: there is no such atlas.
    """
    atlas = lock_atlas(session, atlas_id)
    moment = clock.now(session)
    if not _wants_plan(atlas, moment):
        return None
    if atlas.plan_attempts >= MAX_PLAN_ATTEMPTS:
        fail_planning(session, atlas_id, f"{atlas.plan_attempts} workers stopped answering while they planned it.")
        return None
    atlas.state = AtlasState.PLANNING
    atlas.plan_attempts += 1
    atlas.plan_expires_at = clock.after(moment, lease_seconds)
    return AtlasSpec.model_validate(atlas.spec)


def renew_planning(session: Session, atlas_id: str, lease_seconds: float) -> None:
    """Keep the atlas's planner for `lease_seconds` from now, if it is still being planned."""
    until = clock.after(clock.now(session), lease_seconds)
    planned = update(Atlas).where(Atlas.id == atlas_id, Atlas.state == AtlasState.PLANNING)
    session.execute(planned.values(plan_expires_at=until).execution_options(synchronize_session=False))


def release_planning(session: Session, atlas_id: str) -> None:
    """Give an atlas back unplanned; the attempt does not count. Nothing if it is not being planned."""
    atlas = lock_atlas(session, atlas_id)
    if atlas.state == AtlasState.PLANNING:
        atlas.state, atlas.plan_expires_at = AtlasState.QUEUED, None
        atlas.plan_attempts -= 1


def save_plan(session: Session, atlas_id: str, shards: Iterable[ShardSpec]) -> AtlasState:
    """Store the plan and let the atlas run; nothing if it is planned or was given up. The atlas's state.

    A shard whose pictures all exist is done at once; an atlas with nothing left to do is complete.

    Raises:
        NotFound: there is no such atlas.
        UnknownLayer: a shard names a layer that the network has not.
    """
    atlas = lock_atlas(session, atlas_id)
    if atlas.state not in {AtlasState.QUEUED, AtlasState.PLANNING}:
        return AtlasState(atlas.state)
    start(session, atlas)
    atlas.planned_at, atlas.plan_expires_at = clock.now(session), None
    atlas.images = _insert(session, _rows(session, atlas, shards))
    return finish_if_done(session, atlas_id)


def fail_planning(session: Session, atlas_id: str, error: str) -> None:
    """Mark the atlas as failed for `error`, unless it is planned or was given up in the meantime."""
    atlas = lock_atlas(session, atlas_id)
    if atlas.state in {AtlasState.QUEUED, AtlasState.PLANNING}:
        atlas.state, atlas.error = AtlasState.FAILED, error
        atlas.finished_at = clock.now(session)


def take_unplanned(session: Session, *, stale_seconds: float = PLAN_STALE_SECONDS, limit: int = 10) -> list[str]:
    """Ids of atlases that wait for a planner without a message on its way, oldest first.

    Those are: queued for `stale_seconds`, or left by a planner that stopped answering. They are noted as sent,
    queued again, so that they are not given again for `stale_seconds`.
    """
    moment = clock.now(session)
    waiting = (
        select(Atlas.id)
        .where(Atlas.state.in_((AtlasState.QUEUED, AtlasState.PLANNING)))
        .where(Atlas.created_at < clock.after(moment, -stale_seconds))
        .where(or_(Atlas.plan_expires_at.is_(None), Atlas.plan_expires_at < moment))
        .order_by(Atlas.id)
        .limit(limit)
        .with_for_update(key_share=True, skip_locked=True)
    )
    ids = list(session.scalars(waiting))
    resent = {"state": AtlasState.QUEUED, "plan_expires_at": clock.after(moment, stale_seconds)}
    session.execute(update(Atlas).where(Atlas.id.in_(ids)).values(**resent))
    return ids


def _wants_plan(atlas: Atlas, moment: datetime) -> bool:
    if atlas.state == AtlasState.QUEUED:
        return True
    left = atlas.plan_expires_at is None or atlas.plan_expires_at < moment
    return atlas.state == AtlasState.PLANNING and left


def _insert(session: Session, rows: Iterable[dict[str, Any]]) -> int:
    """Insert the shards, a chunk at a time; the images they cover."""
    session.flush()
    images = 0
    for chunk in chunks(rows, CHUNK_ROWS):
        # On the connection, the driver sends a chunk's rows in one go and prepares the statement once.
        session.connection().execute(insert(Shard), chunk)
        images += sum(row["images"] for row in chunk)
    return images


def _rows(session: Session, atlas: Atlas, shards: Iterable[ShardSpec]) -> Iterator[dict[str, Any]]:
    ids = dict(session.execute(select(Layer.name, Layer.id).where(Layer.network_id == atlas.network_id)).all())
    finished: dict[tuple[int, str, int], set[int]] = {}
    for shard in shards:
        if shard.layer not in ids:
            raise UnknownLayer(f"The plan names a layer {shard.layer!r} that is not there.", nearest(shard.layer, ids))
        key = (ids[shard.layer], shard.recipe_hash, shard.seeds)
        if key not in finished:
            finished[key] = _finished_units(session, *key)
        yield _row(atlas, shard, ids[shard.layer], done=finished[key].issuperset(shard.units))


def _finished_units(session: Session, layer_id: int, recipe_hash: str, seeds: int) -> set[int]:
    """The units of a layer that have a picture for every one of the seeds."""
    counted = (
        select(Picture.unit)
        .where(Picture.layer_id == layer_id, Picture.recipe_hash == recipe_hash, Picture.seed < seeds)
        .group_by(Picture.unit)
        .having(func.count() == seeds)
    )
    return set(session.scalars(counted))


def _row(atlas: Atlas, shard: ShardSpec, layer_id: int, *, done: bool) -> dict[str, Any]:
    return {
        "atlas_id": atlas.id,
        "layer_id": layer_id,
        "recipe_hash": shard.recipe_hash,
        "units": list(shard.units),
        "seeds": shard.seeds,
        "images": len(shard.units) * shard.seeds,
        "cost_seconds": shard.cost_seconds,
        "state": ShardState.DONE if done else ShardState.PENDING,
        "finished_at": atlas.planned_at if done else None,
    }
