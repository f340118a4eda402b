"""What follows when a stage of a pass over a probe set is over: its answers are put together, then come the views.

The shards of the next stage join the atlas in the transaction that ends the stage before, with the atlas locked:
whoever commits last plans what follows, once, and the atlas is not over before that is.
"""

from sqlalchemy import delete, exists, select
from sqlalchemy.orm import Session

from core.specs import ShardKind, ShardSpec
from db.models import Atlas, AtlasState, Shard, ShardState
from db.passes import Merged
from db.probe_models import PassPart, ProbePass
from db.results import Result
from db.shard_rows import insert_shards

MERGE_SECONDS = 5.0
"""A guess at what it costs to put the answers together."""


def go_on(session: Session, atlas: Atlas, kind: str, result: Result) -> None:
    """After a shard of the locked atlas was done: plan the next stage, if that was the last of this one."""
    if kind == ShardKind.PROBE and not _are_open(session, atlas, ShardKind.PROBE):
        _add(session, atlas, [ShardSpec(kind=ShardKind.MERGE, cost_seconds=MERGE_SECONDS)])
    if kind == ShardKind.MERGE and isinstance(result, Merged):
        mine = select(ProbePass.id).where(ProbePass.atlas_id == atlas.id).scalar_subquery()
        session.execute(delete(PassPart).where(PassPart.pass_id == mine).execution_options(synchronize_session=False))
        _add(session, atlas, result.views)


def _are_open(session: Session, atlas: Atlas, kind: ShardKind) -> bool:
    session.flush()
    mine = exists().where(Shard.atlas_id == atlas.id, Shard.state != ShardState.DONE, Shard.kind == kind)
    return bool(session.scalar(select(mine)))


def _add(session: Session, atlas: Atlas, shards: list[ShardSpec]) -> None:
    is_over = atlas.state == AtlasState.CANCELLED
    insert_shards(session, atlas, shards, ShardState.CANCELLED if is_over else ShardState.PENDING)
