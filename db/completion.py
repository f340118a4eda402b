"""When an atlas runs and when it is over: the lock, the start and the end that every command on it shares.

Rows are locked in one order, everywhere: atlas (ascending id), owner, share, shard (ascending id), probe set, worker.
Then two commands never wait for each other in a circle.
"""

from sqlalchemy import ColumnElement, bindparam, exists, func, select, update
from sqlalchemy.orm import Session, defer

from core.errors import NotFound
from db import clock, tallies
from db.bulk import insert_missing
from db.models import Atlas, AtlasState, Owner, Shard, ShardState, Share

# Without what was wished, which may list many units and which few look at: it is read when it is asked for.
_LOCKED = (
    select(Atlas)
    .where(Atlas.id == bindparam("atlas"))
    .options(defer(Atlas.spec))
    .with_for_update(key_share=True)
    .execution_options(populate_existing=True)
)

UNFINISHED = (AtlasState.QUEUED, AtlasState.PLANNING, AtlasState.RUNNING)


def lock_atlas(session: Session, atlas_id: str) -> Atlas:
    """The atlas as it is now, its row locked until the transaction ends.

    Raises:
        NotFound: there is none of that id.
    """
    atlas = session.scalar(_LOCKED, {"atlas": atlas_id})
    if atlas is None:
        raise NotFound(f"There is no atlas {atlas_id!r}.", "See the list of atlases.")
    return atlas


def lock_owner(session: Session, name: str) -> Owner:
    """The owner, made if missing, its row locked until the transaction ends."""
    insert_missing(session, Owner, [{"name": name}])
    statement = select(Owner).where(Owner.name == name).with_for_update(key_share=True)
    return session.scalars(statement.execution_options(populate_existing=True)).one()


def start(session: Session, atlas: Atlas) -> None:
    """Let the atlas, locked, run in its lane: it joins its owner's others there at the place of the one served least.

    Without that a newcomer would be given every worker until it had caught up with those who were there before. What
    waits in another lane does not count: nobody may be serving that one.
    """
    others = select(func.min(Atlas.served)).where(Atlas.id != atlas.id, Atlas.owner == atlas.owner, *_at_work(atlas))
    mine = session.scalar(others)
    if mine is None:
        _join(session, atlas)
    atlas.served = max(atlas.served, mine or 0.0)
    atlas.state, atlas.error, atlas.finished_at = AtlasState.RUNNING, None, None


def _join(session: Session, atlas: Atlas) -> None:
    """Give the atlas's owner, who had nothing to do in this lane, the place of whoever was served least there."""
    lane = {"device_kind": atlas.device_kind, "priority": atlas.priority}
    insert_missing(session, Share, [{"owner": atlas.owner, **lane, "served": 0.0}])
    same = (Share.device_kind == atlas.device_kind, Share.priority == atlas.priority)
    busy = exists().where(Atlas.owner == Share.owner, *_at_work(atlas))
    least = session.scalar(select(func.min(Share.served)).where(*same, Share.owner != atlas.owner, busy))
    joined = update(Share).where(*same, Share.owner == atlas.owner, Share.served < (least or 0.0))
    session.execute(joined.values(served=least), execution_options={"synchronize_session": False})


def _at_work(atlas: Atlas) -> tuple[ColumnElement[bool], ...]:
    """What holds for atlases in this one's lane that run and have shards waiting."""
    waiting = exists().where(Shard.atlas_id == Atlas.id, Shard.state == ShardState.PENDING)
    lane = (Atlas.device_kind == atlas.device_kind, Atlas.priority == atlas.priority)
    return (Atlas.state == AtlasState.RUNNING, *lane, waiting)


def finish_if_done(session: Session, atlas: Atlas) -> AtlasState:
    """End the atlas, locked, if none of its shards is left to do; its state.

    The lock makes whoever commits the last shard see all the others.
    """
    session.flush()
    counted = tallies.of_atlas(session, atlas.id)
    if atlas.state == AtlasState.RUNNING and counted.open_shards == 0:
        failed = counted[ShardState.FAILED].shards > 0
        atlas.state = AtlasState.COMPLETE_WITH_FAILURES if failed else AtlasState.COMPLETE
        atlas.finished_at = clock.now(session)
    return AtlasState(atlas.state)
