"""Sums over an atlas's shards, so that its progress costs the same for ten shards and for a hundred thousand.

Whoever changes shards changes the tallies in the same transaction, with the atlas locked: they are always exact.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Self

from sqlalchemy import bindparam, case, delete, func, insert, literal, select
from sqlalchemy.orm import Session

from db.bulk import Insert, insert_on
from db.models import Shard, ShardState, Tally

PLANNED = "planned"
"""All shards of an atlas, whatever their state."""
ENDED = (ShardState.DONE, ShardState.FAILED, ShardState.CANCELLED)
"""The states that are tallied; what is in none of them waits or runs."""
FIELDS = ("shards", "images", "cost_seconds", "computed_cost_seconds", "computed_seconds")
COMPUTED = (
    func.sum(case((Shard.seconds > 0, Shard.cost_seconds), else_=0.0)),
    func.coalesce(func.sum(Shard.seconds), 0.0),
)
"""The last two of those; of the plan, nothing is computed: there they are 0."""
_OF_ATLASES = select(Tally.atlas_id, Tally.state, *(getattr(Tally, field) for field in FIELDS)).where(
    Tally.atlas_id.in_(bindparam("atlases", expanding=True))
)


@dataclass(frozen=True, kw_only=True)
class Sums:
    """What a tally counts."""

    shards: int = 0
    images: int = 0
    cost_seconds: float = 0.0  # as planned
    computed_cost_seconds: float = 0.0  # of those that were computed, not found done
    computed_seconds: float = 0.0  # what those took

    @classmethod
    def of(cls, shards: Iterable[Shard]) -> Self:
        """The sums over some shards."""
        rows = list(shards)
        computed = [row for row in rows if row.seconds]
        return cls(
            shards=len(rows),
            images=sum(row.images for row in rows),
            cost_seconds=sum(row.cost_seconds for row in rows),
            computed_cost_seconds=sum(row.cost_seconds for row in computed),
            computed_seconds=sum(row.seconds or 0.0 for row in computed),
        )


def of_computed(images: int, cost_seconds: float, seconds: float) -> Sums:
    """The sums over one shard that took so many seconds; none if all of it was found done."""
    computed = {"computed_cost_seconds": cost_seconds, "computed_seconds": seconds} if seconds else {}
    return Sums(shards=1, images=images, cost_seconds=cost_seconds, **computed)


@dataclass(frozen=True)
class AtlasTallies:
    """All tallies of one atlas; one that it has not is all zeros."""

    by_state: dict[str, Sums]

    def __getitem__(self, state: str) -> Sums:
        return self.by_state.get(state, Sums())

    @property
    def open_shards(self) -> int:
        """How many wait or run."""
        return self[PLANNED].shards - sum(self[state].shards for state in ENDED)

    @property
    def open_images(self) -> int:
        """How many unit-images are in shards that wait or run."""
        return self[PLANNED].images - sum(self[state].images for state in ENDED)

    @property
    def open_cost_seconds(self) -> float:
        """The planned cost of the shards that wait or run."""
        return self[PLANNED].cost_seconds - sum(self[state].cost_seconds for state in ENDED)


def add(session: Session, atlas_id: str, state: str, sums: Sums) -> None:
    """Add to a tally of an atlas, which the caller has locked."""
    if not sums.shards:
        return
    values = {"atlas_id": atlas_id, "state": state, **_values(sums)}
    session.connection().execute(_adding(session.get_bind().dialect.name), values)


@cache
def _adding(dialect: str) -> Insert:
    """What adds to a tally, or begins it; made once."""
    new = insert_on(dialect, Tally)
    more: dict[str, Any] = {field: getattr(Tally, field) + new.excluded[field] for field in FIELDS}
    return new.on_conflict_do_update(index_elements=["atlas_id", "state"], set_=more)


def add_ended(session: Session, shard: Shard) -> None:
    """Count a shard that has just ended, if it has."""
    if shard.state in ENDED:
        add(session, shard.atlas_id, shard.state, Sums.of([shard]))


def recount(session: Session, atlas_id: str) -> None:
    """Count an atlas's shards anew, after many of them were changed at once; the caller has locked it."""
    session.flush()
    clear(session, atlas_id)
    columns = ["atlas_id", "state", *FIELDS]
    ended = _counted(Shard.state, *COMPUTED).where(Shard.atlas_id == atlas_id, Shard.state.in_(ENDED))
    session.execute(insert(Tally).from_select(columns, ended.group_by(Shard.atlas_id, Shard.state)))
    planned = _counted(literal(PLANNED), literal(0.0), literal(0.0)).where(Shard.atlas_id == atlas_id)
    session.execute(insert(Tally).from_select(columns, planned.group_by(Shard.atlas_id)))


def clear(session: Session, atlas_id: str) -> None:
    """Forget an atlas's tallies."""
    session.execute(delete(Tally).where(Tally.atlas_id == atlas_id))


def of_atlases(session: Session, ids: Sequence[str]) -> dict[str, AtlasTallies]:
    """The tallies of each of the atlases."""
    found: dict[str, dict[str, Sums]] = {atlas_id: {} for atlas_id in ids}
    for atlas_id, state, *values in session.execute(_OF_ATLASES, {"atlases": ids}):
        found[atlas_id][state] = Sums(**dict(zip(FIELDS, values, strict=True)))
    return {atlas_id: AtlasTallies(states) for atlas_id, states in found.items()}


def of_atlas(session: Session, atlas_id: str) -> AtlasTallies:
    """The tallies of one atlas."""
    return of_atlases(session, [atlas_id])[atlas_id]


def _counted(state: Any, *computed: Any) -> Any:
    sums = (func.count(), func.sum(Shard.images), func.sum(Shard.cost_seconds))
    return select(Shard.atlas_id, state, *sums, *computed)


def _values(sums: Sums) -> dict[str, Any]:
    return {field: getattr(sums, field) for field in FIELDS}
