"""Dispatch, on SQLite and PostgreSQL: fair by weight, cheap with many shards, nothing sent twice."""

from collections import Counter

import pytest
from sqlalchemy import select, update

from core.specs import ShardSpec
from db import atlases, clock, leases
from db.dispatch import outstanding, take_for_dispatch
from db.models import Shard
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


def take(sessions: Sessions, limit: int, stale_seconds: float = 60) -> list[int]:
    with sessions.begin() as session:
        return take_for_dispatch(session, limit=limit, stale_seconds=stale_seconds)


def test_shards_are_sent_once_in_the_plans_order(sessions: Sessions) -> None:
    with sessions.begin() as session:
        running_atlas(session, many(5))
    assert take(sessions, 2) == [1, 2]
    assert take(sessions, 0) == []
    assert take(sessions, 9) == [3, 4, 5]
    assert take(sessions, 9) == []
    with sessions() as session:
        assert outstanding(session) == 5


def test_lost_messages_are_sent_again(sessions: Sessions) -> None:
    with sessions.begin() as session:
        running_atlas(session, many(3))
    assert take(sessions, 2) == [1, 2]
    with sessions.begin() as session:
        late = clock.after(clock.now(session), -61)
        session.execute(update(Shard).where(Shard.id == 1).values(enqueued_at=late))
        assert outstanding(session) == 1
    assert take(sessions, 3) == [1, 3]


def test_leased_shard_is_not_outstanding_and_released_is_sent_again(sessions: Sessions) -> None:
    with sessions.begin() as session:
        running_atlas(session, many(1))
    take(sessions, 1)
    with sessions.begin() as session:
        lease = leases.lease_shard(session, 1, "w", 60)
        assert lease is not None
        assert outstanding(session) == 0
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
            running_atlas(session, many(20))
    taken = [each for ids in race([lambda: take(sessions, 7)] * 6) for each in ids]
    assert len(taken) == 42
    assert len(set(taken)) == 42
