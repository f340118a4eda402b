"""Leases: who computes a shard, and the one transaction that makes its pictures true.

The rules, all held here:
- A shard is leased by one UPDATE that finds it waiting (or its lease run out) and its atlas running. Every lease has
  a new token; whoever holds an old one can change nothing.
- A lease and its commit may be asked for twice, as an answer may get lost: the token tells that it is the same one. A
  shard that is done keeps the token that it was committed under.
- Leases are judged by the database's clock. `renew` keeps them; one that is not renewed runs out.
- Pictures and "done" are written together, after the token was checked with the row locked.
- An attempt counts when it begins. What kills its worker is tried `max_attempts` times and then failed. A setback (a
  full store) is nobody's attempt: the shard waits and is tried again for as long as it takes.
- Locks are taken in the order of `db.completion`; `lease_shard` and `renew` lock shards only.
"""

from collections.abc import Collection, Mapping
from functools import cache
from typing import cast

from sqlalchemy import ColumnElement, Table, and_, bindparam, exists, func, or_, select, update
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningUpdate

from core.errors import LostLease
from core.specs import DeviceKind
from db import clock, stages, tallies
from db.completion import finish_if_done, lock_atlas
from db.ids import new_token
from db.models import MAX_ERROR_CHARACTERS, Atlas, AtlasState, Shard, ShardState, Worker
from db.results import Result
from db.work import Lease, read_lease

RAN_OUT = "the worker stopped answering"
MOST_DOUBLINGS = 5
"""A shard waits twice as long after each setback, until it waits 32 times the first wait."""


def lease_shard(  # noqa: PLR0913  # the shard, and all of the worker that matters to it
    session: Session,
    shard_id: int,
    worker_id: str,
    lease_seconds: float,
    *,
    max_attempts: int = 3,
    device_kind: DeviceKind = DeviceKind.ANY,
    token: str | None = None,
) -> Lease | None:
    """Lease the shard; None if there is nothing to do for this worker: done, leased, given up, or never there.

    A worker on a device of `device_kind` takes no shard that asks for another; one of "any" takes all.
    Asked again with the same `token` (see `db.ids.new_token`), it is the same lease and the same attempt.
    """
    token = token or new_token()
    given = {"shard": shard_id, "worker": worker_id, "token": token, "lasting": lease_seconds}
    execute = session.connection().scalar
    taken = execute(_take(device_kind), {**given, "most": max_attempts})
    if taken is None and execute(_TAKEN_BEFORE, given) is None:
        return None
    return read_lease(session, shard_id, token, worker_id)


def renew(
    session: Session, worker_id: str, tokens: Collection[str], fractions: Mapping[str, float], lease_seconds: float
) -> set[str]:
    """Extend the worker's leases and note how far each is (0..1); the tokens that are still worth working for.

    A token that is not returned was lost, or its atlas was cancelled: stop, and `release` it.
    """
    connection = session.connection()
    held = connection.execute(_HELD, {"worker": worker_id, "tokens": list(tokens)}).all()
    kept = {token: (shard_id, fraction) for shard_id, token, fraction in held if token is not None}
    for token, (shard_id, fraction) in kept.items():
        known = min(max(fractions.get(token, fraction), 0.0), 1.0)
        connection.execute(_RENEWED, {"shard": shard_id, "lasting": lease_seconds, "known": known})
    return set(kept)


def commit_shard(session: Session, lease: Lease, result: Result) -> AtlasState:
    """Write what was computed and mark the lease's shard as done, both or neither; the state of its atlas then.

    What somebody else stored in the meantime stays as it is. A shard that was finished while its atlas was being
    cancelled counts: what is done is kept. A lease that is committed already stays so.

    Raises:
        LostLease: the shard is leased to somebody else, or given up.
        ValueError: the result is not all that the lease asks for.
    """
    result.check(lease)
    atlas = lock_atlas(session, lease.atlas_id)
    mine = {"shard": lease.shard_id, "token": lease.token}
    done = session.connection().execute(_DONE, {**mine, "spent": result.seconds}).one_or_none()
    if done is None:
        return _committed(session, lease)
    result.store(session, lease, done.finished_at)
    tallies.add(session, atlas.id, ShardState.DONE, tallies.of_computed(done.images, done.cost_seconds, result.seconds))
    stages.go_on(session, atlas, done.kind, result)
    state = finish_if_done(session, atlas)
    _credit(session, lease, shards_done=1, images_done=result.images, busy_seconds=result.seconds)
    return state


def release(session: Session, lease: Lease) -> bool:
    """Give the shard back unfinished; the attempt does not count. False if the lease was lost anyway."""
    held = _lock(session, lease)
    if held is None:
        return False
    atlas, shard = held
    shard.attempts -= 1
    _end(shard, _waiting(atlas))
    tallies.add_ended(session, shard)
    return True


def set_back(session: Session, lease: Lease, reason: str, wait_seconds: float) -> bool:
    """Give the shard back because something that it needs is not there; False if the lease was lost anyway.

    The attempt does not count. The shard waits for `wait_seconds`, and twice as long after each further setback.
    """
    held = _lock(session, lease)
    if held is None:
        return False
    atlas, shard = held
    wait_seconds *= 2 ** min(shard.setbacks, MOST_DOUBLINGS)
    shard.attempts -= 1
    shard.setbacks += 1
    shard.error = reason[:MAX_ERROR_CHARACTERS]
    _end(shard, _waiting(atlas))
    shard.retry_at = clock.after(clock.now(session), wait_seconds)
    tallies.add_ended(session, shard)
    _credit(session, lease, shards_failed=1)
    return True


def fail_attempt(session: Session, lease: Lease, error: str, max_attempts: int) -> ShardState | None:
    """Note that the attempt failed: the shard waits for the next one, or is failed after `max_attempts`.

    Returns the shard's state, or None if the lease was lost (whoever holds it now decides).
    """
    held = _lock(session, lease)
    if held is None:
        return None
    atlas, shard = held
    _give_up(session, atlas, shard, error, max_attempts)
    finish_if_done(session, atlas)
    _credit(session, lease, shards_failed=1)
    return ShardState(shard.state)


def atlases_with_expired(session: Session) -> list[str]:
    """Ids of the atlases that have shards whose lease ran out."""
    expired = select(Shard.atlas_id).where(_ran_out()).distinct().order_by(Shard.atlas_id)
    return list(session.scalars(expired))


def reap_expired(session: Session, atlas_id: str, max_attempts: int) -> list[int]:
    """End the atlas's leases that ran out, each a failed attempt; the shards that wait again (the others are failed).

    One atlas a transaction: whoever locks several waits in a circle with others who do.
    """
    atlas = lock_atlas(session, atlas_id)
    waiting = _reap(session, atlas, max_attempts)
    finish_if_done(session, atlas)
    return waiting


def last_workers(session: Session, shard_ids: Collection[int]) -> dict[int, str]:
    """The worker that each of the shards was last leased to, by shard."""
    found = select(Shard.id, Shard.lease_worker).where(Shard.id.in_(shard_ids)).order_by(Shard.id)
    return {shard_id: worker or "?" for shard_id, worker in session.execute(found)}


def count_held(session: Session) -> int:
    """How many leases somebody may still commit under, whether or not they have run out."""
    return session.scalar(select(func.count()).where(Shard.state == ShardState.RUNNING)) or 0


def _reap(session: Session, atlas: Atlas, max_attempts: int) -> list[int]:
    mine = select(Shard).where(Shard.atlas_id == atlas.id, _ran_out()).order_by(Shard.id)
    shards = session.scalars(mine.with_for_update().execution_options(populate_existing=True)).all()
    for shard in shards:
        _give_up(session, atlas, shard, RAN_OUT, max_attempts)
    return [shard.id for shard in shards if shard.state == ShardState.PENDING]


def _give_up(session: Session, atlas: Atlas, shard: Shard, error: str, max_attempts: int) -> None:
    shard.error = error[:MAX_ERROR_CHARACTERS]
    if shard.attempts < max_attempts:
        _end(shard, _waiting(atlas))
    else:
        _end(shard, ShardState.FAILED)
        shard.finished_at = clock.now(session)
    tallies.add_ended(session, shard)


def _credit(session: Session, lease: Lease, **more: float) -> None:
    """Add to what the worker is known to have done."""
    added = {f"more_{field}": more.get(field, 0) for field in _CREDITED}
    session.connection().execute(_CREDIT, {"worker": lease.worker_id, **added})


def _end(shard: Shard, state: ShardState) -> None:
    shard.state, shard.fraction, shard.enqueued_at, shard.retry_at = state, 0.0, None, None
    shard.lease_token = shard.lease_expires_at = None


def _waiting(atlas: Atlas) -> ShardState:
    """What a shard becomes that is not finished and not failed: the atlas may have been cancelled since."""
    return ShardState.CANCELLED if atlas.state == AtlasState.CANCELLED else ShardState.PENDING


def _lock(session: Session, lease: Lease) -> tuple[Atlas, Shard] | None:
    """The shard and its atlas, their rows locked, if the lease still holds."""
    atlas = lock_atlas(session, lease.atlas_id)
    mine = (Shard.id == lease.shard_id, Shard.lease_token == lease.token, Shard.state == ShardState.RUNNING)
    statement = select(Shard).where(*mine).with_for_update()
    shard = session.scalar(statement.execution_options(populate_existing=True))
    return None if shard is None else (atlas, shard)


def _committed(session: Session, lease: Lease) -> AtlasState:
    """The state of the lease's atlas if the lease was committed before; its answer got lost.

    Raises:
        LostLease: it was not.
    """
    mine = Shard.id == lease.shard_id, Shard.lease_token == lease.token, Shard.state == ShardState.DONE
    state = session.scalar(select(Atlas.state).join(Shard, Shard.atlas_id == Atlas.id).where(*mine))
    if state is None:
        raise LostLease(f"The lease of shard {lease.shard_id} was lost.", "Its result must not be committed.")
    return AtlasState(state)


def _ran_out() -> ColumnElement[bool]:
    return and_(Shard.state == ShardState.RUNNING, Shard.lease_expires_at < clock.later(0))


def _atlas_runs(device_kind: DeviceKind = DeviceKind.ANY) -> ColumnElement[bool]:
    runs = exists().where(Atlas.id == Shard.atlas_id, Atlas.state == AtlasState.RUNNING)
    return runs if device_kind == DeviceKind.ANY else runs.where(Atlas.device_kind.in_((device_kind, DeviceKind.ANY)))


# --- the statements of every shard, made once: building them takes longer than running them --------------------------


@cache
def _take(device_kind: DeviceKind) -> ReturningUpdate[tuple[int]]:
    """Leases a shard that waits, or whose lease ran out, if its atlas runs and is for such a device."""
    now, until = clock.later(0), clock.later("lasting")
    ran_out = and_(_ran_out(), Shard.attempts < bindparam("most"), Shard.lease_token != bindparam("token"))
    waits = and_(Shard.state == ShardState.PENDING, or_(Shard.retry_at.is_(None), Shard.retry_at <= now))
    taken = update(_SHARDS).where(Shard.id == bindparam("shard"), or_(waits, ran_out), _atlas_runs(device_kind))
    leased = {"lease_token": bindparam("token"), "lease_worker": bindparam("worker"), "lease_expires_at": until}
    begun = {"attempts": Shard.attempts + 1, "fraction": 0.0, "started_at": now}
    return taken.values(state=ShardState.RUNNING, **leased, **begun).returning(Shard.id)


_SHARDS = cast(Table, Shard.__table__)
_WORKERS = cast(Table, Worker.__table__)
_MINE = (
    Shard.id == bindparam("shard"),
    Shard.lease_token == bindparam("token"),
    Shard.state == ShardState.RUNNING,
)
_TAKEN_BEFORE = update(_SHARDS).where(*_MINE).values(lease_expires_at=clock.later("lasting")).returning(Shard.id)
# Locked in the order of their ids, as everywhere: whoever reaps them at this moment would wait in a circle.
_HELD = (
    select(Shard.id, Shard.lease_token, Shard.fraction)
    .where(Shard.state == ShardState.RUNNING, Shard.lease_worker == bindparam("worker"), _atlas_runs())
    .where(Shard.lease_token.in_(bindparam("tokens", expanding=True)))
    .order_by(Shard.id)
    .with_for_update()
)
_RENEWED = (
    update(_SHARDS)
    .where(Shard.id == bindparam("shard"))
    .values(lease_expires_at=clock.later("lasting"), fraction=bindparam("known"))
)
_DONE = (
    update(_SHARDS)
    .where(*_MINE)
    .values(state=ShardState.DONE, fraction=1.0, error=None, enqueued_at=None, retry_at=None, lease_expires_at=None)
    .values(finished_at=clock.later(0), seconds=bindparam("spent"))  # its token stays: see above
    .returning(Shard.kind, Shard.images, Shard.cost_seconds, Shard.finished_at)
)
_CREDITED = ("shards_done", "shards_failed", "images_done", "busy_seconds")
_CREDIT = (
    update(_WORKERS)
    .where(Worker.id == bindparam("worker"))
    .values({field: getattr(Worker, field) + bindparam(f"more_{field}") for field in _CREDITED})
)
