"""Commands of planning: one planner at a time, one plan for ever, written a chunk at a time in flat memory.

A planner holds a token. Each chunk is a transaction of its own that checks it, so that no lock is held for long, and a
planner that was frozen and wakes up can change nothing. The next planner begins anew. Nothing is computed of a plan
that is not complete: the atlas runs only then.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, delete, exists, func, or_, select, update
from sqlalchemy.orm import Session

from core.errors import LostLease
from core.specs import AtlasSpec, DeviceKind, Priority, ShardSpec
from db import clock, quotas, tallies
from db.completion import finish_if_done, lock_atlas, start
from db.ids import new_token
from db.models import MAX_ERROR_CHARACTERS, Atlas, AtlasState, Shard
from db.probe_models import ProbePass
from db.shard_rows import insert_shards

MAX_PLAN_ATTEMPTS = 3
PLAN_STALE_SECONDS = 30
"""A queued atlas that no planner has taken up for this long needs a message again."""
INTERACTIVE_SECONDS = 120.0
"""An atlas whose plan costs no more than this is served before the large ones, unless it was asked for otherwise."""
MOST_INTERACTIVE_VIEWS = 1000
"""Nor does one that makes more crops and backward views than that count as small."""
MOST_INTERACTIVE = 4
"""So many of an owner's atlases are interactive at once by their size alone."""


@dataclass(frozen=True, kw_only=True)
class PlanLease:
    """The right to plan one atlas until it runs out."""

    atlas_id: str
    token: str  # 32 hex digits, new with every planner
    attempt: int  # 1 for the first
    spec: AtlasSpec


def begin_planning(
    session: Session, atlas_id: str, lease_seconds: float, *, token: str | None = None
) -> PlanLease | None:
    """Make the caller the atlas's planner for `lease_seconds`; None if it needs no plan or has a planner.

    What an earlier planner left is forgotten. Asked again with the same `token` (see `db.ids.new_token`), before
    anything is stored of the plan, it is the same planner and the same attempt.

    Raises:
        NotFound: there is no such atlas.
    """
    atlas = lock_atlas(session, atlas_id)
    moment, token = clock.now(session), token or new_token()
    until = clock.after(moment, lease_seconds)
    if atlas.state == AtlasState.PLANNING and atlas.plan_token == token:
        atlas.plan_expires_at = until
        return _plan_lease(atlas, token)
    if not _wants_plan(atlas, moment):
        return None
    if atlas.plan_attempts >= MAX_PLAN_ATTEMPTS:
        _fail(session, atlas, f"{atlas.plan_attempts} workers stopped answering while they planned it.")
        return None
    forget_plan(session, atlas_id)
    atlas.state, atlas.plan_token, atlas.plan_expires_at = AtlasState.PLANNING, token, until
    atlas.plan_attempts += 1
    return _plan_lease(atlas, token)


def _plan_lease(atlas: Atlas, token: str) -> PlanLease:
    spec = AtlasSpec.model_validate(atlas.spec)
    return PlanLease(atlas_id=atlas.id, token=token, attempt=atlas.plan_attempts, spec=spec)


def renew_planning(session: Session, lease: PlanLease, lease_seconds: float) -> bool:
    """Keep the planner for `lease_seconds` from now; False if it is no longer the atlas's."""
    until = clock.after(clock.now(session), lease_seconds)
    mine = update(Atlas).where(Atlas.id == lease.atlas_id, Atlas.plan_token == lease.token)
    renewed = mine.where(Atlas.state == AtlasState.PLANNING).values(plan_expires_at=until).returning(Atlas.id)
    return session.scalar(renewed.execution_options(synchronize_session=False)) is not None


def release_planning(session: Session, lease: PlanLease) -> None:
    """Give an atlas back unplanned; the attempt does not count. Nothing if it is no longer the caller's."""
    atlas = lock_atlas(session, lease.atlas_id)
    if _is_planner(atlas, lease):
        atlas.state, atlas.plan_token, atlas.plan_expires_at = AtlasState.QUEUED, None, None
        atlas.plan_attempts -= 1


def extend_plan(session: Session, lease: PlanLease, position: int, shards: Sequence[ShardSpec]) -> None:
    """Store the plan's shards `position`, `position` + 1, ...; a shard whose pictures all exist is done at once.

    Storing the same chunk twice is storing it once.

    Raises:
        LostLease: somebody else plans the atlas, or it was given up.
        UnknownLayer: a shard names a layer that the network has not.
        ValueError: the chunk before this one is not stored.
    """
    atlas = lock_planned(session, lease)
    stored = tallies.of_atlas(session, atlas.id)[tallies.PLANNED].shards
    if stored == position + len(shards):
        return
    if stored != position:
        raise ValueError(f"expected the plan's shard {stored} next, got {position}")
    insert_shards(session, atlas, shards)


def finish_planning(session: Session, lease: PlanLease) -> AtlasState:
    """Let the atlas run, its plan being complete; one with nothing left to do is complete. Its state.

    Raises:
        LostLease: somebody else plans the atlas, or it was given up.
    """
    atlas = lock_atlas(session, lease.atlas_id)
    if atlas.plan_token == lease.token and atlas.planned_at is not None:  # said twice
        return AtlasState(atlas.state)
    atlas = lock_planned(session, lease)
    plan = tallies.of_atlas(session, atlas.id)[tallies.PLANNED]
    atlas.planned_at, atlas.plan_expires_at = clock.now(session), None
    atlas.images = plan.images + _views(session, atlas)
    atlas.priority = atlas.priority or _priority(session, atlas, plan)
    start(session, atlas)
    return finish_if_done(session, atlas)


def fail_planning(session: Session, lease: PlanLease, error: str) -> None:
    """Mark the atlas as failed for `error`, unless it is somebody else's or was given up in the meantime."""
    atlas = lock_atlas(session, lease.atlas_id)
    if _is_planner(atlas, lease):
        _fail(session, atlas, error)


def take_unplanned(
    session: Session,
    live: Collection[DeviceKind],
    *,
    stale_seconds: float = PLAN_STALE_SECONDS,
    limit: int = 10,
) -> list[tuple[str, DeviceKind]]:
    """Atlases (id, device kind) that wait for a planner without a message on its way, those that wait longest first.

    Those are: queued for `stale_seconds`, or left by a planner that stopped answering. They are noted as sent,
    queued again, so that they are not given again for `stale_seconds`. One for a kind of device that no live worker has
    waits until there is one.
    """
    moment = clock.now(session)
    stale = clock.after(moment, -stale_seconds)
    due_at = func.coalesce(Atlas.plan_expires_at, Atlas.created_at)
    waiting = (
        select(Atlas.id, Atlas.device_kind)
        .where(Atlas.state.in_((AtlasState.QUEUED, AtlasState.PLANNING)))
        .where(Atlas.device_kind.in_({DeviceKind.ANY, *live}))
        .where(or_(Atlas.plan_expires_at < moment, and_(Atlas.plan_expires_at.is_(None), Atlas.created_at < stale)))
        .order_by(due_at, Atlas.id)
        .limit(limit)
        .with_for_update(key_share=True, skip_locked=True)
    )
    found = [(atlas_id, DeviceKind(kind)) for atlas_id, kind in session.execute(waiting)]
    resent = {"state": AtlasState.QUEUED, "plan_token": None, "plan_expires_at": clock.after(moment, stale_seconds)}
    session.execute(update(Atlas).where(Atlas.id.in_([atlas_id for atlas_id, _ in found])).values(**resent))
    return found


def _priority(session: Session, atlas: Atlas, plan: tallies.Sums) -> Priority:
    """Interactive for what is small, unless its owner has several such under way: those are a batch in disguise."""
    mine = (Atlas.owner == atlas.owner, Atlas.state == AtlasState.RUNNING, Atlas.priority == Priority.INTERACTIVE)
    under_way = session.scalar(select(func.count()).select_from(Atlas).where(*mine)) or 0
    # What crops and backward views will cost nobody has measured yet: many are a batch, however small the set.
    is_small = plan.cost_seconds <= INTERACTIVE_SECONDS and _views(session, atlas) <= MOST_INTERACTIVE_VIEWS
    is_small = is_small and under_way < MOST_INTERACTIVE
    return Priority.INTERACTIVE if is_small else Priority.BATCH


def _views(session: Session, atlas: Atlas) -> int:
    """The images whose shards will follow when the atlas's pass, if it makes one, is over."""
    makes = session.scalar(select(exists().where(ProbePass.atlas_id == atlas.id)))
    return quotas.views_of(session, atlas.network, AtlasSpec.model_validate(atlas.spec)) if makes else 0


def _wants_plan(atlas: Atlas, moment: datetime) -> bool:
    if atlas.state == AtlasState.QUEUED:
        return True
    left = atlas.plan_expires_at is None or atlas.plan_expires_at < moment
    return atlas.state == AtlasState.PLANNING and left


def _is_planner(atlas: Atlas, lease: PlanLease) -> bool:
    return atlas.state == AtlasState.PLANNING and atlas.plan_token == lease.token


def lock_planned(session: Session, lease: PlanLease) -> Atlas:
    atlas = lock_atlas(session, lease.atlas_id)
    if not _is_planner(atlas, lease):
        raise LostLease(f"The plan of atlas {lease.atlas_id} is somebody else's, or was given up.")
    return atlas


def _fail(session: Session, atlas: Atlas, error: str) -> None:
    forget_plan(session, atlas.id)
    atlas.state, atlas.error, atlas.plan_token = AtlasState.FAILED, error[:MAX_ERROR_CHARACTERS], None
    atlas.finished_at = clock.now(session)


def forget_plan(session: Session, atlas_id: str) -> None:
    """Delete the shards of a plan that was not completed: nobody has seen them."""
    session.execute(delete(Shard).where(Shard.atlas_id == atlas_id).execution_options(synchronize_session=False))
    tallies.clear(session, atlas_id)
