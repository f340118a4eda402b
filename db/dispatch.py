"""Which shards get a message next: fairly over the running atlases, each by its weight.

Every atlas carries what it was served so far (estimated seconds of work / weight); the one that was served least is
next. That is fair however few shards are asked for at a time, and needs no memory in any process.
"""

import heapq
from collections.abc import Iterator, Sequence
from datetime import datetime

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from db import clock
from db.models import Atlas, AtlasState, Shard, ShardState

STALE_SECONDS = 60
"""A message sent longer ago than this may be lost: it is sent again."""
LEAST_COST_SECONDS = 0.001
"""A shard that costs nothing counts as this, so that its atlas moves on in the queue."""


def take_for_dispatch(session: Session, *, limit: int, stale_seconds: float = STALE_SECONDS) -> list[int]:
    """Up to `limit` ids of waiting shards without a message (or whose message is older than `stale_seconds`).

    They are noted as enqueued now: the caller sends a message for each.
    """
    moment = clock.now(session)
    locked = select(Atlas).where(Atlas.state == AtlasState.RUNNING).order_by(Atlas.id)
    locked = locked.with_for_update(key_share=True).execution_options(populate_existing=True)
    atlases = session.scalars(locked).all() if limit > 0 else []
    chosen = _choose(session, atlases, limit, clock.after(moment, -stale_seconds))
    enqueued = update(Shard).where(Shard.id.in_(chosen), Shard.state == ShardState.PENDING)
    session.execute(enqueued.values(enqueued_at=moment).execution_options(synchronize_session=False))
    return chosen


def withdraw(session: Session, shard_ids: Sequence[int]) -> None:
    """Their messages could not be sent: these shards wait for one again, at once."""
    unsent = update(Shard).where(Shard.id.in_(shard_ids), Shard.state == ShardState.PENDING)
    session.execute(unsent.values(enqueued_at=None).execution_options(synchronize_session=False))


def outstanding(session: Session, *, stale_seconds: float = STALE_SECONDS) -> int:
    """How many waiting shards have a message on its way (younger than `stale_seconds`)."""
    fresh = clock.after(clock.now(session), -stale_seconds)
    statement = select(func.count()).select_from(Shard)
    found = statement.where(Shard.state == ShardState.PENDING, Shard.enqueued_at >= fresh)
    return session.scalar(found) or 0


def _choose(session: Session, atlases: Sequence[Atlas], limit: int, stale: datetime) -> list[int]:
    queue = [(atlas.served, atlas.id, atlas, _waiting(session, atlas.id, limit, stale)) for atlas in atlases]
    heapq.heapify(queue)
    chosen: list[int] = []
    while queue and len(chosen) < limit:
        _, _, atlas, shards = heapq.heappop(queue)
        taken = next(shards, None)
        if taken is None:
            continue
        shard_id, cost_seconds = taken
        chosen.append(shard_id)
        atlas.served += max(cost_seconds, LEAST_COST_SECONDS) / atlas.weight
        heapq.heappush(queue, (atlas.served, atlas.id, atlas, shards))
    return chosen


def _waiting(session: Session, atlas_id: str, limit: int, stale: datetime) -> Iterator[tuple[int, float]]:
    """(id, cost_seconds) of the atlas's next shards; asks the database when the first is wanted."""
    unsent = or_(Shard.enqueued_at.is_(None), Shard.enqueued_at < stale)
    statement = select(Shard.id, Shard.cost_seconds).where(Shard.atlas_id == atlas_id, unsent)
    pending = statement.where(Shard.state == ShardState.PENDING).order_by(Shard.id).limit(limit)
    yield from session.execute(pending)
