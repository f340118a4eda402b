"""Dispatch, on SQLite and PostgreSQL: fair by weight, cheap with many shards, nothing sent twice."""

from collections import Counter

import pytest
from sqlalchemy import select, update

from core.specs import DeviceKind, Priority, ShardSpec
from db import atlases, clock, leases
from db.dispatch import LONG_AGO, Lane, assign, outstanding, room, take_for_dispatch, withdraw
from db.models import Atlas, Shard, Share
from db.session import Sessions
from tests.integration.racing import race
from tests.integration.records import describe, results, running_atlas, shards

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def tiny(sessions: Sessions) -> None:
    with sessions.begin() as session:
        describe(session)


def many(count: int) -> list[ShardSpec]:
    return shards("conv", [(n % 6,) for n in range(count)])


def owners(sessions: Sessions, ids: list[int]) -> list[str]:
    with sessions() as session:
        owner = dict(session.execute(select(Shard.id, Shard.atlas_id)).all())
    return [owner[each] for each in ids]


BATCH = (DeviceKind.ANY, Priority.BATCH)


def take(sessions: Sessions, limit: int, stale_seconds: float = 60, lane: Lane = BATCH) -> list[int]:
    with sessions.begin() as session:
        chosen = assign(session, {lane: limit}, stale_seconds=stale_seconds)
    assert {(each.device_kind, each.priority) for each in chosen} <= {lane}
    return [each.shard_id for each in chosen]


def test_shards_are_sent_once_in_the_plans_order(sessions: Sessions) -> None:
    with sessions.begin() as session:
        running_atlas(session, many(5))
    assert take(sessions, 2) == [1, 2]
    assert take(sessions, 0) == []
    assert take(sessions, 9) == [3, 4, 5]
    assert take(sessions, 9) == []
    with sessions() as session:
        assert outstanding(session)[BATCH] == 5


def test_nobody_pays_for_messages_that_could_not_be_sent(sessions: Sessions) -> None:
    with sessions.begin() as session:
        atlas_id = running_atlas(session, many(4))
    assert take(sessions, 2) == [1, 2]
    before = served(sessions, atlas_id)
    with sessions.begin() as session:
        session.execute(update(Shard).where(Shard.id == 1).values(enqueued_at=LONG_AGO))  # its message was lost
    with sessions.begin() as session:
        chosen = assign(session, {BATCH: 2})
    assert [each.shard_id for each in chosen] == [1, 3]
    with sessions.begin() as session:
        withdraw(session, chosen)
    assert served(sessions, atlas_id) == pytest.approx(before)
    assert take(sessions, 2) == [1, 3]  # at once
    paid = [after - earlier for after, earlier in zip(served(sessions, atlas_id), before, strict=True)]
    assert paid == pytest.approx([share / 2 for share in before])  # two shards were paid for then, one now


def served(sessions: Sessions, atlas_id: str) -> tuple[float, float]:
    """What the atlas and its owner were given."""
    with sessions() as session:
        return session.get_one(Atlas, atlas_id).served, session.scalars(select(Share.served)).one()


def test_lost_messages_are_sent_again(sessions: Sessions) -> None:
    with sessions.begin() as session:
        running_atlas(session, many(3))
    assert take(sessions, 2) == [1, 2]
    with sessions.begin() as session:
        late = clock.after(clock.now(session), -61)
        session.execute(update(Shard).where(Shard.id == 1).values(enqueued_at=late))
        assert outstanding(session)[BATCH] == 1
    assert take(sessions, 3) == [1, 3]


def test_leased_shard_is_not_outstanding_and_released_is_sent_again(sessions: Sessions) -> None:
    with sessions.begin() as session:
        running_atlas(session, many(1))
    take(sessions, 1)
    with sessions.begin() as session:
        lease = leases.lease_shard(session, 1, "w", 60)
        assert lease is not None
        assert outstanding(session)[BATCH] == 0
    assert take(sessions, 1) == []
    with sessions.begin() as session:
        leases.release(session, lease)
    assert take(sessions, 1) == [1]


@pytest.mark.parametrize("limit", [1, 2, 30])
def test_atlases_share_by_weight_however_few_are_taken(sessions: Sessions, limit: int) -> None:
    with sessions.begin() as session:
        heavy = running_atlas(session, many(40), weight=2.0)
        light = running_atlas(session, many(40), weight=1.0)
    taken = [each for _ in range(30 // limit) for each in take(sessions, limit)]
    share = Counter(owners(sessions, taken))
    assert abs(share[heavy] - 20) <= 1
    assert abs(share[light] - 10) <= 1


def test_newcomer_gets_its_share_at_once_and_no_more(sessions: Sessions) -> None:
    with sessions.begin() as session:
        old = running_atlas(session, many(60))
    take(sessions, 30)
    with sessions.begin() as session:
        new = running_atlas(session, many(60))
    share = Counter(owners(sessions, take(sessions, 20)))
    assert abs(share[new] - share[old]) <= 1


def test_only_running_atlases_are_served(sessions: Sessions) -> None:
    with sessions.begin() as session:
        cancelled = running_atlas(session, many(3))
        atlases.request_cancel(session, cancelled)
        complete = running_atlas(session, many(1))
        lease = leases.lease_shard(session, 4, "w", 60)
        assert lease is not None
        leases.commit_shard(session, lease, results(lease))
    assert complete
    assert take(sessions, 9) == []


def test_dispatchers_at_once_send_nothing_twice(sessions: Sessions) -> None:
    with sessions.begin() as session:
        for _ in range(3):
            running_atlas(session, many(20), priority=Priority.BATCH)

    def dispatch() -> list[int]:
        with sessions.begin() as session:
            return [each.shard_id for each in take_for_dispatch(session, {DeviceKind.CPU: 6})]

    taken = [each for ids in race([dispatch] * 6) for each in ids]
    assert len(taken) == len(set(taken)) == 14  # two for each worker and two to spare, whoever asks


def test_a_lane_is_filled_when_it_is_half_empty(sessions: Sessions) -> None:
    with sessions.begin() as session:
        running_atlas(session, many(20))
    live = {DeviceKind.CPU: 4}
    with sessions.begin() as session:
        sent = [each.shard_id for each in take_for_dispatch(session, live)]
    assert len(sent) == 10
    for number, left in ((3, {}), (5, 5)):
        with sessions.begin() as session:
            for shard_id in sent[:number]:
                leases.lease_shard(session, shard_id, "w", 60)
            found = room(session, live)
        assert found.get(BATCH, {}) == left


def test_nothing_is_sent_where_nobody_takes_it(sessions: Sessions) -> None:
    with sessions.begin() as session:
        running_atlas(session, many(3), device_kind=DeviceKind.GPU)
    with sessions.begin() as session:
        assert take_for_dispatch(session, {DeviceKind.CPU: 2}) == []
    with sessions.begin() as session:
        chosen = take_for_dispatch(session, {DeviceKind.CPU: 2, DeviceKind.GPU: 1})
    assert {each.device_kind for each in chosen} == {DeviceKind.GPU}
    with sessions.begin() as session:
        assert leases.lease_shard(session, chosen[0].shard_id, "w", 60, device_kind=DeviceKind.CPU) is None
        assert leases.lease_shard(session, chosen[0].shard_id, "w", 60, device_kind=DeviceKind.GPU) is not None


def test_interactive_shards_find_room_however_much_else_is_on_its_way(sessions: Sessions) -> None:
    with sessions.begin() as session:
        running_atlas(session, many(50))
    with sessions.begin() as session:
        take_for_dispatch(session, {DeviceKind.CPU: 1})
        small = running_atlas(session, many(2), priority=Priority.INTERACTIVE)
    with sessions.begin() as session:
        chosen = take_for_dispatch(session, {DeviceKind.CPU: 1})
    assert owners(sessions, [each.shard_id for each in chosen]) == [small, small]
    assert {each.priority for each in chosen} == {Priority.INTERACTIVE}


def test_people_share_alike_whatever_the_number_and_size_of_their_atlases(sessions: Sessions) -> None:
    with sessions.begin() as session:
        hers = [running_atlas(session, many(40), owner="ada") for _ in range(3)]
        his = [running_atlas(session, many(40), owner="bob")]
    share = Counter(owners(sessions, [each for _ in range(12) for each in take(sessions, 2)]))
    assert sum(share[atlas_id] for atlas_id in hers) == share[his[0]] == 12
    assert [share[atlas_id] for atlas_id in hers] == [4, 4, 4]


def test_somebody_who_was_away_does_not_catch_up(sessions: Sessions) -> None:
    with sessions.begin() as session:
        running_atlas(session, many(60), owner="ada")
    take(sessions, 30)
    with sessions.begin() as session:
        late = running_atlas(session, many(60), owner="bob")
    assert Counter(owners(sessions, take(sessions, 20)))[late] in {10, 11}


def test_what_nobody_serves_is_no_place_to_join_at(sessions: Sessions) -> None:
    """Bob waits for a GPU that nobody has; whoever comes after him must not catch up with Ada's whole history."""
    with sessions.begin() as session:
        running_atlas(session, many(10), owner="bob", device_kind=DeviceKind.GPU)
        running_atlas(session, many(90), owner="ada")
    take(sessions, 50)
    with sessions.begin() as session:
        late = [running_atlas(session, many(40), owner=owner) for owner in ("carl", "bob")]
    share = Counter(owners(sessions, take(sessions, 30)))
    assert [share[atlas_id] for atlas_id in late] == [10, 10]


def test_many_small_atlases_of_one_person_are_a_batch(sessions: Sessions) -> None:
    with sessions.begin() as session:
        small = [each.model_copy(update={"cost_seconds": 1.0}) for each in many(2)]
        ids = [running_atlas(session, small, priority=None, owner="ada") for _ in range(6)]
        other = running_atlas(session, small, priority=None, owner="bob")
        found = [session.get_one(Atlas, atlas_id).priority for atlas_id in [*ids, other]]
    assert found == ["interactive"] * 4 + ["batch"] * 2 + ["interactive"]


def test_a_shard_that_was_set_back_waits_longer_each_time(sessions: Sessions) -> None:
    with sessions.begin() as session:
        running_atlas(session, many(1))
    for number in range(3):
        with sessions.begin() as session:
            lease = leases.lease_shard(session, 1, "w", 60)
            assert lease is not None
            assert leases.set_back(session, lease, "the disk is full", 100)
            shard = session.get_one(Shard, 1)
            assert (shard.attempts, shard.setbacks, shard.error) == (0, number + 1, "the disk is full")
            assert shard.retry_at is not None
            waits = (shard.retry_at - clock.now(session)).total_seconds()
            assert 100 * 2**number - 1 < waits <= 100 * 2**number
            assert leases.lease_shard(session, 1, "w", 60) is None
        assert take(sessions, 5) == []
        with sessions.begin() as session:
            session.execute(update(Shard).values(retry_at=clock.after(clock.now(session), -1)))
    assert take(sessions, 5) == [1]
