"""Shards as rows: those of a plan, and those that follow when a stage is over."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import exists, func, insert, select
from sqlalchemy.orm import Session

from core.errors import UnknownLayer, nearest
from core.specs import ShardKind, ShardSpec
from db import clock, tallies
from db.models import Atlas, Layer, Picture, Shard, ShardState


def insert_shards(
    session: Session, atlas: Atlas, shards: Sequence[ShardSpec], state: ShardState = ShardState.PENDING
) -> None:
    """Add shards to the atlas, which is locked, and to its tallies; one whose pictures all exist is done at once.

    Raises:
        UnknownLayer: a shard names a layer that the network has not.
    """
    rows = list(_rows(session, atlas, shards, state))
    session.flush()
    if rows:
        # On the connection, the driver sends the rows in one go and prepares the statement once.
        session.connection().execute(insert(Shard), rows)
    tallies.add(session, atlas.id, tallies.PLANNED, _sums(rows))
    for ended in tallies.ENDED:
        tallies.add(session, atlas.id, ended, _sums([row for row in rows if row["state"] == ended]))


def _sums(rows: Sequence[dict[str, Any]]) -> tallies.Sums:
    return tallies.Sums(
        shards=len(rows),
        images=sum(row["images"] for row in rows),
        cost_seconds=sum(row["cost_seconds"] for row in rows),
    )


_Key = tuple[str, str, int]
"""Layer, recipe and seeds of a shard."""


def _key(shard: ShardSpec) -> _Key:
    return shard.layer, shard.recipe_hash, shard.seeds


def _rows(session: Session, atlas: Atlas, shards: Sequence[ShardSpec], state: ShardState) -> Iterator[dict[str, Any]]:
    ids = dict(session.execute(select(Layer.name, Layer.id).where(Layer.network_id == atlas.network_id)).all())
    for shard in shards:
        if shard.layer and shard.layer not in ids:
            raise UnknownLayer(f"The plan names a layer {shard.layer!r} that is not there.", nearest(shard.layer, ids))
    preferred = [shard for shard in shards if shard.kind == ShardKind.PREFERRED]
    finished, moment = _finished_units(session, ids, preferred), clock.now(session)
    for shard in shards:
        done = shard.kind == ShardKind.PREFERRED and finished[_key(shard)].issuperset(shard.units)
        yield _row(atlas, shard, ids.get(shard.layer), state, moment if done else None)


def _finished_units(session: Session, ids: dict[str, int], shards: Sequence[ShardSpec]) -> dict[_Key, set[int]]:
    """Those of the shards' units that have a picture for every seed; one read for each layer and recipe."""
    units: dict[_Key, list[int]] = {}
    for shard in shards:
        units.setdefault(_key(shard), []).extend((shard.units[0], shard.units[-1]))
    return {
        key: _with_pictures(session, ids[key[0]], key[1], key[2], (min(ends), max(ends))) for key, ends in units.items()
    }


def _with_pictures(session: Session, layer_id: int, recipe_hash: str, seeds: int, units: tuple[int, int]) -> set[int]:
    mine = (Picture.layer_id == layer_id, Picture.recipe_hash == recipe_hash)
    if not session.scalar(select(exists().where(*mine))):
        return set()
    counted = select(Picture.unit).where(*mine, Picture.seed < seeds, Picture.unit.between(*units))
    return set(session.scalars(counted.group_by(Picture.unit).having(func.count() == seeds)))


def _row(
    atlas: Atlas, shard: ShardSpec, layer_id: int | None, state: ShardState, done_at: datetime | None
) -> dict[str, Any]:
    return {
        "atlas_id": atlas.id,
        "kind": shard.kind,
        "layer_id": layer_id,
        "recipe_hash": shard.recipe_hash or None,
        "units": list(shard.units),
        "seeds": shard.seeds,
        "first": shard.first,
        "last": shard.last,
        "images": shard.images,
        "cost_seconds": shard.cost_seconds,
        "state": state if done_at is None else ShardState.DONE,
        "finished_at": done_at,
    }
