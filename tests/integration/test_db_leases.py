"""Leases, on SQLite and PostgreSQL: one winner, fenced commits, attempts that end."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait

import pytest
from sqlalchemy import func, select, update

from core.errors import LostLease
from core.recipes import FOURIER
from core.specs import NetworkSource
from db import atlases, clock, leases
from db.leases import lease_shard
from db.models import Atlas, AtlasState, Picture, Shard, ShardState, Worker
from db.results import Pictures
from db.session import Sessions
from db.work import Lease, PreferredLease
from db.workers import beat, forget, live, stop
from tests.integration.racing import race
from tests.integration.records import describe, info, layer, picture, reap, results, running_atlas, shards, worker_beat

pytestmark = pytest.mark.integration


@pytest.fixture
def atlas_id(sessions: Sessions) -> str:
    """A running atlas of three shards (ids 1, 2, 3), two units each."""
    with sessions.begin() as session:
        describe(session)
        return running_atlas(session)


@pytest.fixture
def take(sessions: Sessions) -> Callable[..., PreferredLease]:
    """Leases a shard for a worker; fails the test if it is not to be had."""

    def take(shard_id: int = 1, worker: str = "w", seconds: float = 60) -> Lease:
        with sessions.begin() as session:
            lease = lease_shard(session, shard_id, worker, seconds)
        assert lease is not None
        return lease

    return take


def shard_of(sessions: Sessions, shard_id: int = 1) -> Shard:
    with sessions() as session:
        return session.get_one(Shard, shard_id)


def run_out(sessions: Sessions, shard_id: int = 1) -> None:
    """Let the shard's lease run out now."""
    with sessions.begin() as session:
        past = clock.after(clock.now(session), -1)
        session.execute(update(Shard).where(Shard.id == shard_id).values(lease_expires_at=past))


def test_lease_says_all_that_is_needed(sessions: Sessions, atlas_id: str, take: Callable[..., PreferredLease]) -> None:
    lease = take(2)
    assert lease.network == NetworkSource(name="tiny", kind="bundled", builder="demo")
    assert lease.network_weights_hash == "a" * 64
    assert lease.layer == info().layers[0]
    assert (lease.recipe, lease.recipe_hash) == (FOURIER, FOURIER.content_hash())
    assert lease.addresses == ((2, 0), (3, 0))
    assert (lease.atlas_id, lease.worker_id, lease.attempt, len(lease.token)) == (atlas_id, "w", 1, 32)


def test_leased_finished_and_strange_shards_are_not_leased(
    sessions: Sessions, atlas_id: str, take: Callable[..., PreferredLease]
) -> None:
    lease = take(1)
    with sessions.begin() as session:
        leases.commit_shard(session, lease, results(lease))
    take(2)
    with sessions.begin() as session:
        assert [lease_shard(session, shard_id, "other", 60) for shard_id in (1, 2, 99)] == [None] * 3


@pytest.mark.parametrize("round_", range(5))
def test_one_of_many_workers_wins_a_shard(sessions: Sessions, atlas_id: str, round_: int) -> None:
    def run(worker: str) -> Lease | None:
        with sessions.begin() as session:
            return lease_shard(session, 1 + round_ % 3, worker, 60)

    won = [lease for lease in race([lambda w=str(n): run(w) for n in range(8)]) if lease is not None]
    assert len(won) == 1
    shard = shard_of(sessions, 1 + round_ % 3)
    assert (shard.lease_token, shard.lease_worker, shard.attempts) == (won[0].token, won[0].worker_id, 1)


def test_one_of_many_workers_takes_over_a_lease_that_ran_out(
    sessions: Sessions, atlas_id: str, take: Callable[..., PreferredLease]
) -> None:
    old = take(1, worker="old")
    run_out(sessions)

    def run() -> Lease | None:
        with sessions.begin() as session:
            return lease_shard(session, 1, "new", 60)

    won = [lease for lease in race([run] * 8) if lease is not None]
    assert len(won) == 1
    assert won[0].attempt == 2
    with sessions.begin() as session, pytest.raises(LostLease):
        leases.commit_shard(session, old, results(old))
    with sessions() as session:
        assert session.scalar(select(func.count()).select_from(Picture)) == 0


def test_take_over_ends_with_the_last_attempt(
    sessions: Sessions, atlas_id: str, take: Callable[..., PreferredLease]
) -> None:
    """A shard that kills every worker is not leased for ever, even if nobody reaps."""
    for _ in range(3):
        take(1)
        run_out(sessions)
    with sessions.begin() as session:
        assert lease_shard(session, 1, "w", 60) is None
        assert reap(session, 3) == []
    assert shard_of(sessions).state == ShardState.FAILED


def test_renewed_lease_holds_and_notes_the_fraction(
    sessions: Sessions, atlas_id: str, take: Callable[..., PreferredLease]
) -> None:
    one, two = take(1, seconds=0.001), take(2, worker="other")
    with sessions.begin() as session:
        held = leases.renew(session, "w", [one.token, two.token, "f" * 32], {one.token: 0.25}, 60)
        assert held == {one.token}
        assert reap(session, 3) == []
    assert shard_of(sessions).fraction == 0.25
    with sessions.begin() as session:
        leases.renew(session, "w", [one.token], {one.token: 7.0}, 60)
    assert shard_of(sessions).fraction == 1.0


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)  # SQLite has one lock
def test_renewing_waits_for_a_reaper_without_holding_what_it_needs(
    sessions: Sessions, atlas_id: str, take: Callable[..., PreferredLease]
) -> None:
    with sessions.begin() as session:
        for shard_id, token in ((take(1).shard_id, "b" * 32), (take(2).shard_id, "a" * 32)):
            session.execute(update(Shard).where(Shard.id == shard_id).values(lease_token=token))

    def renew() -> set[str]:
        with sessions.begin() as session:
            return leases.renew(session, "w", {"a" * 32, "b" * 32}, {}, 60)

    with ThreadPoolExecutor(1) as pool, sessions.begin() as reaper:
        reaper.execute(select(Shard.id).where(Shard.id == 1).with_for_update())
        renewing = pool.submit(renew)
        assert wait([renewing], timeout=0.5).not_done
        reaper.execute(select(Shard.id).where(Shard.id == 2).with_for_update())
        reaper.commit()
        assert renewing.result(timeout=10) == {"a" * 32, "b" * 32}


def test_commit_writes_pictures_shard_and_worker(
    sessions: Sessions, atlas_id: str, take: Callable[..., PreferredLease]
) -> None:
    with sessions.begin() as session:
        beat(session, worker_beat())
    lease = take(1)
    rows = [picture(0), picture(1, state="dead", blob=None, sheet=None, sheet_index=None, activation=None)]
    with sessions.begin() as session:
        assert leases.commit_shard(session, lease, Pictures(rows)) == AtlasState.RUNNING
    shard = shard_of(sessions)
    assert (shard.state, shard.seconds, shard.fraction) == (ShardState.DONE, 1.0, 1.0)
    assert (shard.lease_token, shard.lease_expires_at) == (lease.token, None)
    with sessions() as session:
        stored = session.scalars(select(Picture).order_by(Picture.unit)).all()
        worker = session.get_one(Worker, "w")
    assert [(p.unit, p.state, p.shard_id, p.best_step) for p in stored] == [(0, "ok", 1, 9), (1, "dead", 1, 9)]
    assert (worker.images_done, worker.busy_seconds) == (2, 1.0)


def test_a_lease_whose_answer_got_lost_is_given_again(sessions: Sessions, atlas_id: str) -> None:
    given = []
    for seconds in (-1, 60):  # run out by then, or not
        with sessions.begin() as session:
            given.append(lease_shard(session, 1, "w", seconds, token="a" * 32))
    assert given[0] == given[1] is not None
    assert (shard_of(sessions).attempts, shard_of(sessions).lease_token) == (1, "a" * 32)
    with sessions.begin() as session:
        assert leases.reap_expired(session, atlas_id, 3) == []
        assert lease_shard(session, 1, "w", 60, token="b" * 32) is None


def test_a_lease_that_was_reaped_is_not_given_again_for_nothing(sessions: Sessions, atlas_id: str) -> None:
    with sessions.begin() as session:
        lease_shard(session, 1, "w", -1, token="a" * 32)
    with sessions.begin() as session:
        leases.reap_expired(session, atlas_id, 3)
    with sessions.begin() as session:
        again = lease_shard(session, 1, "w", 60, token="a" * 32)
    assert again is not None
    assert again.attempt == 2


def test_commit_twice_is_done_and_changes_nothing(
    sessions: Sessions, atlas_id: str, take: Callable[..., PreferredLease]
) -> None:
    lease = take(1)
    with sessions.begin() as session:
        beat(session, worker_beat())
    for _ in range(2):
        with sessions.begin() as session:
            assert leases.commit_shard(session, lease, results(lease)) == AtlasState.RUNNING
    with sessions() as session:
        assert session.get_one(Worker, "w").images_done == 2
        assert session.scalar(select(func.count()).select_from(Picture)) == 2


def test_commit_that_lacks_pictures_is_refused(
    sessions: Sessions, atlas_id: str, take: Callable[..., PreferredLease]
) -> None:
    lease = take(1)
    with sessions.begin() as session, pytest.raises(ValueError, match="1 are missing"):
        leases.commit_shard(session, lease, Pictures([picture(0)]))
    assert shard_of(sessions).state == ShardState.RUNNING


def test_two_atlases_that_want_the_same_keep_the_first_pictures(
    sessions: Sessions, atlas_id: str, take: Callable[..., PreferredLease]
) -> None:
    with sessions.begin() as session:
        running_atlas(session, shards("conv", [(0, 1, 2)]))
    mine, theirs = take(1), take(4)
    assert theirs.addresses == ((0, 0), (1, 0), (2, 0))
    with sessions.begin() as session:
        leases.commit_shard(session, mine, Pictures([picture(0, activation=1.5), picture(1)]))
    with sessions.begin() as session:
        leases.commit_shard(session, theirs, Pictures([picture(unit, activation=9.5) for unit in range(3)]))
    with sessions() as session:
        found = session.execute(select(Picture.unit, Picture.activation).order_by(Picture.unit)).all()
    assert [tuple(row) for row in found] == [(0, 1.5), (1, 1.0), (2, 9.5)]


def test_overlapping_commits_at_once_do_not_lock_each_other_out(sessions: Sessions) -> None:
    """Four atlases of the same pictures, in both orders, committed together."""
    units = 400
    with sessions.begin() as session:
        describe(session, info(layers=[layer("wide", 0, units)]))
        for _ in range(4):
            running_atlas(session, shards("wide", [range(units)], seeds=3), seeds=3)
    with sessions.begin() as session:
        taken = [lease for n in range(1, 5) if (lease := lease_shard(session, n, "w", 60)) is not None]

    def commit(lease: Lease) -> str:
        rows = results(lease).rows[:: 1 if lease.shard_id % 2 else -1]
        with sessions.begin() as session:
            return leases.commit_shard(session, lease, Pictures(rows))

    assert race([lambda lease=lease: commit(lease) for lease in taken]) == [AtlasState.COMPLETE] * 4
    with sessions() as session:
        assert session.scalar(select(func.count()).select_from(Picture)) == units * 3


def test_lease_has_only_what_is_missing(sessions: Sessions, atlas_id: str, take: Callable[..., PreferredLease]) -> None:
    with sessions.begin() as session:
        running_atlas(session, shards("conv", [(0, 1, 2), (0, 1)]))
    done = take(1)
    with sessions.begin() as session:
        leases.commit_shard(session, done, results(done))
    assert take(4).addresses == ((2, 0),)
    nothing = take(5)
    assert nothing.addresses == ()
    with sessions.begin() as session:
        leases.commit_shard(session, nothing, Pictures([]))
    assert shard_of(sessions, 5).state == ShardState.DONE


@pytest.mark.parametrize("round_", range(3))
def test_last_shards_committed_together_end_the_atlas(
    sessions: Sessions, atlas_id: str, take: Callable[..., PreferredLease], round_: int
) -> None:
    taken = [take(shard_id, worker=str(shard_id)) for shard_id in (1, 2, 3)]

    def commit(lease: Lease) -> str:
        with sessions.begin() as session:
            return leases.commit_shard(session, lease, results(lease))

    states = race([lambda lease=lease: commit(lease) for lease in taken])
    assert sorted(states) == [AtlasState.COMPLETE, AtlasState.RUNNING, AtlasState.RUNNING]
    with sessions() as session:
        atlas = session.get_one(Atlas, atlas_id)
        assert atlas.state == AtlasState.COMPLETE
        assert atlas.finished_at is not None


def test_released_shard_waits_again_as_if_untouched(
    sessions: Sessions, atlas_id: str, take: Callable[..., PreferredLease]
) -> None:
    lease = take(1)
    with sessions.begin() as session:
        assert leases.release(session, lease)
        assert not leases.release(session, lease)
    shard = shard_of(sessions)
    assert (shard.state, shard.attempts, shard.enqueued_at, shard.error) == (ShardState.PENDING, 0, None, None)


def test_shard_that_keeps_failing_is_given_up_with_its_error(
    sessions: Sessions, atlas_id: str, take: Callable[..., PreferredLease]
) -> None:
    for attempt in (1, 2, 3):
        lease = take(1)
        assert lease.attempt == attempt
        with sessions.begin() as session:
            state = leases.fail_attempt(session, lease, f"boom {attempt}", 3)
            assert leases.fail_attempt(session, lease, "again", 3) is None
        assert state == (ShardState.FAILED if attempt == 3 else ShardState.PENDING)
    assert shard_of(sessions).error == "boom 3"
    for shard_id in (2, 3):
        lease = take(shard_id)
        with sessions.begin() as session:
            state = leases.commit_shard(session, lease, results(lease))
    assert state == AtlasState.COMPLETE_WITH_FAILURES


def test_lease_that_ran_out_is_reaped_once(
    sessions: Sessions, atlas_id: str, take: Callable[..., PreferredLease]
) -> None:
    old, kept = take(1), take(2)
    run_out(sessions)

    def reap_now() -> list[int]:
        with sessions.begin() as session:
            return reap(session, 3)

    assert sorted(race([reap_now] * 4), key=len) == [[], [], [], [1]]
    shard = shard_of(sessions)
    assert (shard.state, shard.attempts, shard.error) == (ShardState.PENDING, 1, "the worker stopped answering")
    with sessions.begin() as session:
        assert leases.renew(session, "w", [old.token, kept.token], {}, 60) == {kept.token}
        with pytest.raises(LostLease):
            leases.commit_shard(session, old, results(old))


def test_reaped_for_the_last_time_is_failed_and_ends_its_atlas(sessions: Sessions) -> None:
    with sessions.begin() as session:
        describe(session)
        first = running_atlas(session, shards("conv", [(0,)]))
        second = running_atlas(session, shards("conv", [(1,)]))
        for shard_id in (1, 2):
            lease_shard(session, shard_id, "w", 60)
    run_out(sessions, 1)
    run_out(sessions, 2)
    with sessions.begin() as session:
        assert reap(session, 1) == []
    with sessions() as session:
        states = {session.get_one(Atlas, atlas_id).state for atlas_id in (first, second)}
    assert states == {AtlasState.COMPLETE_WITH_FAILURES}


def test_lease_that_ran_out_in_a_cancelled_atlas_is_cancelled(
    sessions: Sessions, atlas_id: str, take: Callable[..., PreferredLease]
) -> None:
    take(1)
    with sessions.begin() as session:
        atlases.request_cancel(session, atlas_id)
    run_out(sessions)
    with sessions.begin() as session:
        assert reap(session, 3) == []
    assert shard_of(sessions).state == ShardState.CANCELLED


def test_everything_at_once_ends_with_every_unit_once(sessions: Sessions) -> None:
    """Workers that lease, commit, release, fail and reap together, in one atlas that is also renewed."""
    plan = shards("conv", [(unit,) for unit in range(6)], seeds=3) + shards("classes", [(0, 1), (2,)], seeds=3)
    with sessions.begin() as session:
        describe(session)
        atlas_id = running_atlas(session, plan, seeds=3)

    def work(worker: int) -> None:
        for turn in range(40):
            shard_id = 1 + (turn * 5 + worker) % len(plan)
            with sessions.begin() as session:
                lease = lease_shard(session, shard_id, str(worker), 60)
            if lease is not None:
                end(lease, turn + worker)
            with sessions.begin() as session:
                reap(session, 100)

    def end(lease: Lease, choice: int) -> None:
        with sessions.begin() as session:
            leases.renew(session, lease.worker_id, [lease.token], {lease.token: 0.5}, 60)
        with sessions.begin() as session:
            if choice % 3 == 0:
                leases.release(session, lease)
            elif choice % 3 == 1:
                leases.fail_attempt(session, lease, "boom", 100)
            else:
                leases.commit_shard(session, lease, results(lease))

    race([lambda n=n: work(n) for n in range(4)])
    with sessions() as session:
        assert session.get_one(Atlas, atlas_id).state == AtlasState.COMPLETE
        assert session.scalar(select(func.count()).select_from(Picture)) == 27


def test_long_and_strange_words_of_workers_are_kept(
    sessions: Sessions, atlas_id: str, take: Callable[..., PreferredLease]
) -> None:
    with sessions.begin() as session:
        long = "x" * 1000
        beat(session, worker_beat(host=long, device=long, queues=long, activity=long))
        assert len(session.get_one(Worker, "w").activity) == 200
    lease = take(1)
    with sessions.begin() as session:
        leases.fail_attempt(session, lease, "\0 bad byte " + "x" * 10_000, 1)
    assert "bad byte" in (shard_of(sessions).error or "")


def test_workers_silent_for_a_day_are_forgotten_and_known_again_if_they_wake_up(
    sessions: Sessions,
) -> None:
    ages = {"beats": 0.0, "silent": 23.9, "stopped": 23.9, "gone": 24.1, "stopped long ago": 24.1}
    with sessions.begin() as session:
        for name, hours in ages.items():
            beat(session, worker_beat(name))
            if name.startswith("stopped"):
                stop(session, name)
            moment = clock.after(clock.now(session), -3600 * hours)
            session.execute(update(Worker).where(Worker.id == name).values(heartbeat_at=moment))
    with sessions.begin() as session:
        assert forget(session) == 2
        assert forget(session) == 0
        assert set(session.scalars(select(Worker.id))) == {"beats", "silent", "stopped"}
        beat(session, worker_beat("gone"))
    with sessions() as session:
        assert "gone" in session.scalars(select(Worker.id)).all()


def test_workers_live_until_they_stop(sessions: Sessions) -> None:
    worker = worker_beat()
    for _ in range(2):
        with sessions.begin() as session:
            beat(session, worker)
            assert live(session, 60).total() == 1
            assert live(session, -1).total() == 0
    with sessions.begin() as session:
        stop(session, "w")
        assert live(session, 60).total() == 0
