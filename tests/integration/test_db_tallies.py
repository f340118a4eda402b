"""The tallies are exact whatever happens to the shards, on SQLite and PostgreSQL."""

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from db import atlases, clock, leases, tallies
from db.models import Shard
from db.queries.atlases import get_progress
from db.session import Sessions
from db.work import Lease
from tests.integration.records import describe, reap, results, running_atlas, shards

pytestmark = pytest.mark.integration


def lease(session: Session, shard_id: int) -> Lease:
    taken = leases.lease_shard(session, shard_id, "w", 60)
    assert taken is not None
    return taken


def assert_exact(session: Session, atlas_id: str) -> None:
    """The tallies are the sums over the shards, counted one by one."""
    rows = session.scalars(select(Shard).where(Shard.atlas_id == atlas_id)).all()
    counted = tallies.of_atlas(session, atlas_id)
    assert counted[tallies.PLANNED].shards == len(rows)
    assert counted[tallies.PLANNED].images == sum(row.images for row in rows)
    assert (counted[tallies.PLANNED].computed_cost_seconds, counted[tallies.PLANNED].computed_seconds) == (0.0, 0.0)
    for state in tallies.ENDED:
        mine = [row for row in rows if row.state == state]
        wanted = tallies.Sums.of(mine)
        assert (counted[state].shards, counted[state].images) == (wanted.shards, wanted.images), state
        assert counted[state].cost_seconds == pytest.approx(wanted.cost_seconds)
        assert counted[state].computed_cost_seconds == pytest.approx(wanted.computed_cost_seconds)
        assert counted[state].computed_seconds == pytest.approx(wanted.computed_seconds)
    waiting = [row for row in rows if row.state in {"pending", "running"}]
    assert counted.open_shards == len(waiting)
    assert counted.open_images == sum(row.images for row in waiting)


def test_a_life_of_an_atlas(sessions: Sessions) -> None:
    with sessions.begin() as session:
        describe(session)
        atlas_id = running_atlas(session, shards("conv", [(n,) for n in range(6)]))
        assert_exact(session, atlas_id)
    with sessions.begin() as session:
        done = lease(session, 1)
        leases.commit_shard(session, done, results(done))
        leases.fail_attempt(session, lease(session, 2), "no", max_attempts=1)
        leases.fail_attempt(session, lease(session, 3), "once more", max_attempts=2)
        leases.set_back(session, lease(session, 4), "full", 1)
        assert_exact(session, atlas_id)
    with sessions.begin() as session:
        running, late = lease(session, 5), lease(session, 6)
        atlases.request_cancel(session, atlas_id)
        assert_exact(session, atlas_id)
        leases.release(session, running)
        leases.commit_shard(session, late, results(late))
        assert_exact(session, atlas_id)
    with sessions.begin() as session:
        assert atlases.retry_failed(session, atlas_id) == 4
        assert_exact(session, atlas_id)
        lease(session, 2)
        session.execute(update(Shard).values(lease_expires_at=clock.after(clock.now(session), -1)))
        reap(session, max_attempts=1)
        assert_exact(session, atlas_id)
    with sessions() as session:
        _, progress = get_progress(session, atlas_id)
    assert progress.shards == {"done": 2, "failed": 1, "pending": 3}
    assert (progress.images, progress.images_done) == (6, 2)


def test_what_exists_already_counts_as_done_and_as_not_computed(sessions: Sessions) -> None:
    with sessions.begin() as session:
        describe(session)
        running_atlas(session, shards("conv", [(0,)]))
        done = lease(session, 1)
        leases.commit_shard(session, done, results(done))
    with sessions.begin() as session:
        again = running_atlas(session, shards("conv", [(0,), (1,)]))
        assert_exact(session, again)
        counted = tallies.of_atlas(session, again)
        assert (counted["done"].shards, counted["done"].computed_seconds) == (1, 0.0)
        tallies.recount(session, again)
        assert tallies.of_atlas(session, again) == counted
