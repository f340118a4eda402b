"""Which shards get a message next: interactive ones at once, the others fairly over people and their atlases.

Every owner carries what their atlases were served so far in each lane (estimated seconds of work), and every atlas
what it was served itself, over its weight. The owner served least is next, and of theirs the atlas served least. That
is fair however few shards are asked for at a time, and needs no memory in any process.

Only as many messages are on their way as keep the workers busy: what waits in the database can still be overtaken,
weighed anew or cancelled. Each lane (device kind and priority) has room of its own, so that none fills another's.
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, Update, and_, func, or_, select, update
from sqlalchemy.orm import Session

from core.specs import DeviceKind, Priority
from db import chores, clock
from db.models import Atlas, AtlasState, Shard, ShardState, Share

STALE_SECONDS = 60
"""A message sent longer ago than this may be lost: it is sent again."""
LEAST_COST_SECONDS = 0.001
"""A shard that costs nothing counts as this, so that its atlas moves on in the queue."""
AHEAD = 2
"""Messages for every live worker: one that is next, and one more for whoever is quicker."""
SPARE_MESSAGES = 2

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
"""When a message was sent that must be sent again at once."""

Lane = tuple[DeviceKind, Priority]
LANES: tuple[Lane, ...] = tuple((kind, priority) for priority in Priority for kind in DeviceKind)


@dataclass(frozen=True, kw_only=True)
class Dispatch:
    """A shard that a message shall be sent for, the lane it takes, and who pays."""

    shard_id: int
    device_kind: DeviceKind
    priority: Priority
    taken: "_Taken" = field(repr=False, compare=False)


def room(session: Session, live: Mapping[DeviceKind, int], *, stale_seconds: float = STALE_SECONDS) -> dict[Lane, int]:
    """How many more messages each lane takes; a lane that is still half full has no room yet, to send many at once.

    Args:
        session: to read from.
        live: how many workers there are of each device kind.
        stale_seconds: a message sent longer ago counts as lost.
    """
    sent = outstanding(session, stale_seconds=stale_seconds)
    wants = {kind: wanted(live, kind) for kind in DeviceKind}
    lacking = {lane: wants[lane[0]] - sent[lane] for lane in LANES}
    return {lane: missing for lane, missing in lacking.items() if missing > 0 and 2 * missing >= wants[lane[0]]}


def take_for_dispatch(
    session: Session,
    live: Mapping[DeviceKind, int],
    kinds: Collection[DeviceKind] = tuple(DeviceKind),
    *,
    stale_seconds: float = STALE_SECONDS,
) -> list[Dispatch]:
    """Waiting shards without a message (or whose message is older than `stale_seconds`) that there is room for.

    They are in the lanes of these kinds of device, and noted as enqueued now: the caller sends a message for each. None
    while somebody else is at it.
    """
    if not chores.hold(session, chores.DISPATCH):
        return []
    lanes = room(session, live, stale_seconds=stale_seconds)
    return assign(session, {lane: n for lane, n in lanes.items() if lane[0] in kinds}, stale_seconds=stale_seconds)


def assign(session: Session, lanes: Mapping[Lane, int], *, stale_seconds: float = STALE_SECONDS) -> list[Dispatch]:
    """Up to so many waiting shards for each lane; the caller holds the chore."""
    moment = clock.now(session)
    unsent = _unsent(moment, stale_seconds)
    taken = {lane: _take_turns(_owners(session, lane, most, unsent), most) for lane, most in lanes.items()}
    _serve(session, taken)
    chosen = [
        Dispatch(shard_id=turn.shard_id, device_kind=kind, priority=priority, taken=turn)
        for (kind, priority), turns in taken.items()
        for turn in turns
    ]
    enqueued = update(Shard).where(Shard.id.in_([d.shard_id for d in chosen]), Shard.state == ShardState.PENDING)
    _execute(session, enqueued.values(enqueued_at=moment))
    return chosen


def withdraw(session: Session, unsent: Sequence[Dispatch]) -> None:
    """Their messages could not be sent: these shards wait for one again, at once, and nobody has paid for that."""
    paid: defaultdict[Lane, list[_Taken]] = defaultdict(list)
    for each in unsent:
        paid[each.device_kind, each.priority].append(each.taken)
    _serve(session, paid, back=True)
    free = [each.shard_id for each in unsent if not each.taken.cost_seconds]  # the first message was paid for
    for ids, moment in ((free, LONG_AGO), ([each.shard_id for each in unsent if each.shard_id not in free], None)):
        waits = update(Shard).where(Shard.id.in_(ids), Shard.state == ShardState.PENDING)
        _execute(session, waits.values(enqueued_at=moment))


def outstanding(session: Session, *, stale_seconds: float = STALE_SECONDS) -> Counter[Lane]:
    """How many waiting shards of each lane have a message on its way (younger than `stale_seconds`)."""
    rows = session.connection().execute(_OUTSTANDING, {"since": -stale_seconds})
    return Counter({(DeviceKind(kind), Priority(str(priority))): count for kind, priority, count in rows})


_OUTSTANDING = (
    select(Atlas.device_kind, Atlas.priority, func.count())
    .join_from(Shard, Atlas)
    .where(Shard.state == ShardState.PENDING, Shard.enqueued_at >= clock.later("since"), Atlas.priority.is_not(None))
    .group_by(Atlas.device_kind, Atlas.priority)
)


def wanted(live: Mapping[DeviceKind, int], kind: DeviceKind) -> int:
    """Messages for those who can take them; none where there is nobody, or they would pile up."""
    able = _able(live, kind)
    return AHEAD * able + SPARE_MESSAGES if able else 0


def _able(live: Mapping[DeviceKind, int], kind: DeviceKind) -> int:
    """How many of the workers take shards that ask for `kind`; one whose own kind is "any" takes all."""
    everybody = kind == DeviceKind.ANY
    return sum(count for own, count in live.items() if everybody or own in {kind, DeviceKind.ANY})


def _unsent(moment: datetime, stale_seconds: float) -> ColumnElement[bool]:
    never = or_(Shard.enqueued_at.is_(None), Shard.enqueued_at < clock.after(moment, -stale_seconds))
    return and_(Shard.state == ShardState.PENDING, never, or_(Shard.retry_at.is_(None), Shard.retry_at <= moment))


@dataclass
class _Turn:
    """Whose turn it is: an atlas or an owner, by what it was served."""

    served: float
    key: str

    def __lt__(self, other: "_Turn") -> bool:
        return (self.served, self.key) < (other.served, other.key)


@dataclass(eq=False)
class _AtlasTurn(_Turn):
    weight: float
    shards: Iterator[tuple[int, float, bool]]  # id, cost_seconds, whether it was sent before


@dataclass(eq=False)
class _OwnerTurn(_Turn):
    atlases: list[_AtlasTurn]  # a heap


@dataclass(frozen=True)
class _Taken:
    """A shard that was given its turn, and who pays for it: nothing, if its message was lost and is sent again."""

    shard_id: int
    cost_seconds: float
    atlas: _AtlasTurn
    owner: _OwnerTurn


def _owners(session: Session, lane: Lane, most: int, unsent: ColumnElement[bool]) -> list[_OwnerTurn]:
    """Whoever has atlases running in the lane, as a heap."""
    kind, priority = lane
    share = and_(Share.owner == Atlas.owner, Share.device_kind == kind, Share.priority == priority)
    running = select(Atlas.id, Atlas.owner, Atlas.served, Atlas.weight, func.coalesce(Share.served, 0.0))
    running = running.outerjoin(Share, share).where(Atlas.state == AtlasState.RUNNING)
    found: dict[str, _OwnerTurn] = {}
    rows = session.execute(running.where(Atlas.device_kind == kind, Atlas.priority == priority)).all()
    for atlas_id, owner, served, weight, owner_served in rows:
        turn = found.setdefault(owner, _OwnerTurn(owner_served, owner, []))
        heapq.heappush(turn.atlases, _AtlasTurn(served, atlas_id, weight, _waiting(session, atlas_id, most, unsent)))
    return sorted(found.values())


def _take_turns(owners: list[_OwnerTurn], most: int) -> list[_Taken]:
    """Shards in the order of turns; `owners` is a heap, and is used up."""
    taken: list[_Taken] = []
    while owners and len(taken) < most:
        owner = owners[0]
        shard = next(owner.atlases[0].shards, None)
        if shard is None:
            heapq.heappop(owner.atlases)
            if not owner.atlases:
                heapq.heappop(owners)
            continue
        shard_id, cost_seconds, again = shard
        turn = _Taken(shard_id, 0.0 if again else max(cost_seconds, LEAST_COST_SECONDS), owner.atlases[0], owner)
        turn.atlas.served += turn.cost_seconds / turn.atlas.weight
        heapq.heapreplace(owner.atlases, turn.atlas)
        owner.served += turn.cost_seconds
        heapq.heapreplace(owners, owner)
        taken.append(turn)
    return taken


def _serve(session: Session, taken: Mapping[Lane, Sequence[_Taken]], *, back: bool = False) -> None:
    """Write down what every atlas, and then every owner, was served, or take it back: in the order of the locks."""
    sign = -1.0 if back else 1.0
    atlases: defaultdict[str, float] = defaultdict(float)
    owners: defaultdict[tuple[str, Lane], float] = defaultdict(float)
    for lane, turns in taken.items():
        for turn in turns:
            atlases[turn.atlas.key] += sign * turn.cost_seconds / turn.atlas.weight
            owners[turn.owner.key, lane] += sign * turn.cost_seconds
    for atlas_id, more in sorted(atlases.items()):
        _execute(session, update(Atlas).where(Atlas.id == atlas_id).values(served=Atlas.served + more))
    for (owner, (kind, priority)), more in sorted(owners.items()):
        mine = (Share.owner == owner, Share.device_kind == kind, Share.priority == priority)
        _execute(session, update(Share).where(*mine).values(served=Share.served + more))


def _execute(session: Session, statement: Update) -> None:
    session.execute(statement, execution_options={"synchronize_session": False})


def _waiting(
    session: Session, atlas_id: str, limit: int, unsent: ColumnElement[bool]
) -> Iterator[tuple[int, float, bool]]:
    """The atlas's next shards; asks the database when the first is wanted."""
    again = Shard.enqueued_at.is_not(None)
    statement = select(Shard.id, Shard.cost_seconds, again).where(Shard.atlas_id == atlas_id, unsent)
    yield from session.execute(statement.order_by(Shard.id).limit(limit))
