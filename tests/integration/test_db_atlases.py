"""Commands on atlases and their plans, on SQLite and PostgreSQL."""

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from core.errors import (
    Conflict,
    InvalidRequest,
    LostLease,
    NotDescribed,
    NotFound,
    UnitOutOfRange,
    UnknownLayer,
    UnknownNetwork,
)
from core.recipes import BOLD, FOURIER
from core.specs import DeviceKind, ShardSpec
from db import atlases, clock, leases, networks, planning
from db.completion import lock_atlas
from db.models import MAX_ERROR_CHARACTERS, Atlas, AtlasState, Recipe, Shard, ShardState
from db.planning import PlanLease
from db.session import Sessions
from db.work import Lease
from tests.integration.racing import race
from tests.integration.records import MAX_OPEN, SOURCE, describe, results, running_atlas, shards, wish

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def tiny(sessions: Sessions) -> None:
    with sessions.begin() as session:
        describe(session)


def state_of(sessions: Sessions, atlas_id: str) -> str:
    with sessions() as session:
        return session.get_one(Atlas, atlas_id).state


def shard_states(sessions: Sessions, atlas_id: str) -> list[str]:
    with sessions() as session:
        return list(session.scalars(select(Shard.state).where(Shard.atlas_id == atlas_id).order_by(Shard.id)))


def test_atlas_is_queued_with_its_recipes(sessions: Sessions) -> None:
    spec = wish((FOURIER, BOLD), layers=("classes", "conv", "classes"), units=(2, 0, 2), seeds=3)
    with sessions.begin() as session:
        atlas, created = atlases.create(session, spec, weight=2.0, max_open=MAX_OPEN)
    assert created
    assert (atlas.state, atlas.weight, len(atlas.id)) == (AtlasState.QUEUED, 2.0, 26)
    assert (atlas.spec["layers"], atlas.spec["units"]) == (["classes", "conv"], [0, 2])
    with sessions() as session:
        assert set(session.scalars(select(Recipe.name))) == {"fourier", "bold"}


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"network": "tinny"}, UnknownNetwork, "'tiny'"),
        ({"layers": ("convv",)}, UnknownLayer, "'conv'"),
        ({"layers": ("conv",), "units": (6,)}, UnitOutOfRange, "no unit 6.*0 to 5"),
        ({"layers": ("conv",), "units": (-1,)}, UnitOutOfRange, "no unit -1"),
        ({"units": (3,)}, UnitOutOfRange, "'classes' has no unit 3"),
    ],
)
def test_wish_for_what_is_not_there_is_refused_and_leaves_nothing(
    sessions: Sessions, changes: dict[str, object], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says), sessions.begin() as session:
        atlases.create(session, wish(**changes), max_open=MAX_OPEN)
    with sessions() as session:
        assert session.scalar(select(func.count()).select_from(Atlas)) == 0
        assert session.scalar(select(func.count()).select_from(Recipe)) == 0


def test_network_nobody_has_looked_at_takes_only_whole_wishes(sessions: Sessions) -> None:
    with sessions.begin() as session:
        networks.register(session, SOURCE.model_copy(update={"name": "fresh"}))
        atlases.create(session, wish(network="fresh"), max_open=MAX_OPEN)
        for named in ({"layers": ("conv",)}, {"units": (0,)}):
            with pytest.raises(NotDescribed) as caught:
                atlases.create(session, wish(network="fresh", **named), max_open=MAX_OPEN)
            assert caught.value.network == "fresh"
        networks.fail_description(session, "fresh", "it has no layers")
        with pytest.raises(InvalidRequest, match="it has no layers"):
            atlases.create(session, wish(network="fresh"), max_open=MAX_OPEN)


def test_same_key_and_wish_give_the_same_atlas(sessions: Sessions) -> None:
    with sessions.begin() as session:
        first, created = atlases.create(session, wish(), idempotency_key="k", max_open=1)
        again, created_again = atlases.create(session, wish(), idempotency_key="k", max_open=1)
        assert (created, created_again) == (True, False)
        assert first.id == again.id
        with pytest.raises(Conflict, match="Idempotency-Key"):
            atlases.create(session, wish(seeds=2), idempotency_key="k", max_open=1)
        with pytest.raises(Conflict, match="Idempotency-Key"):
            atlases.create(session, wish(), weight=2, idempotency_key="k", max_open=1)


@pytest.mark.parametrize("key", ["", "k" * 201])
def test_key_that_cannot_be_kept_is_refused(sessions: Sessions, key: str) -> None:
    with sessions.begin() as session, pytest.raises(InvalidRequest, match="1 to 200"):
        atlases.create(session, wish(), idempotency_key=key, max_open=MAX_OPEN)


def test_same_key_at_the_same_moment_gives_one_atlas(sessions: Sessions) -> None:
    def create() -> str:
        with sessions.begin() as session:
            return atlases.create(session, wish(), idempotency_key="k", max_open=MAX_OPEN)[0].id

    assert len(set(race([create] * 6))) == 1


def test_open_atlases_are_limited(sessions: Sessions) -> None:
    with sessions.begin() as session:
        atlas, _ = atlases.create(session, wish(), max_open=1)
        with pytest.raises(Conflict, match="1 atlases of 'local' are unfinished"):
            atlases.create(session, wish(), max_open=1)
        atlases.request_cancel(session, atlas.id)
        atlases.create(session, wish(), max_open=1)


def test_one_planner_at_a_time_and_three_in_all(sessions: Sessions) -> None:
    spec = wish(layers=("conv",))
    with sessions.begin() as session:
        atlas_id = atlases.create(session, spec, max_open=MAX_OPEN)[0].id
    for _ in range(3):
        with sessions.begin() as session:
            lease = planning.begin_planning(session, atlas_id, 60)
            assert lease is not None
            assert lease.spec == spec
            assert planning.begin_planning(session, atlas_id, 60) is None
            session.execute(update(Atlas).values(plan_expires_at=clock.after(clock.now(session), -1)))
    with sessions.begin() as session:
        assert planning.begin_planning(session, atlas_id, 60) is None
    with sessions() as session:
        atlas = session.get_one(Atlas, atlas_id)
        assert atlas.state == AtlasState.FAILED
        assert "3 workers stopped answering" in (atlas.error or "")
    with sessions.begin() as session:
        assert atlases.retry_failed(session, atlas_id) == 0
        assert planning.begin_planning(session, atlas_id, 60) is not None


def test_a_planner_whose_answer_got_lost_is_the_same_planner(sessions: Sessions) -> None:
    with sessions.begin() as session:
        atlas_id = atlases.create(session, wish(), max_open=MAX_OPEN)[0].id
    given = []
    for _ in range(2):
        with sessions.begin() as session:
            given.append(planning.begin_planning(session, atlas_id, 60, token="a" * 32))
    assert given[0] == given[1] is not None
    with sessions.begin() as session:
        assert session.get_one(Atlas, atlas_id).plan_attempts == 1
        assert planning.begin_planning(session, atlas_id, 60, token="b" * 32) is None


def test_planners_at_once_are_one(sessions: Sessions) -> None:
    with sessions.begin() as session:
        atlas_id = atlases.create(session, wish(), max_open=MAX_OPEN)[0].id

    def plan() -> bool:
        with sessions.begin() as session:
            return planning.begin_planning(session, atlas_id, 60) is not None

    assert sorted(race([plan] * 6)) == [False] * 5 + [True]


def begun(sessions: Sessions, lease_seconds: float = 60, atlas_id: str = "") -> PlanLease:
    """A planner of a new atlas, or of the one given."""
    with sessions.begin() as session:
        atlas_id = atlas_id or atlases.create(session, wish(), max_open=MAX_OPEN)[0].id
        lease = planning.begin_planning(session, atlas_id, lease_seconds)
    assert lease is not None
    return lease


def test_a_plan_is_written_in_chunks_each_of_them_once(sessions: Sessions) -> None:
    lease = begun(sessions)
    chunks = [shards("conv", [(0,), (1,)]), shards("conv", [(2,)]), shards("classes", [(0, 1)])]
    position = 0
    for chunk in chunks:
        for _ in range(2):  # the answer to the first was lost
            with sessions.begin() as session:
                planning.extend_plan(session, lease, position, chunk)
        position += len(chunk)
    with pytest.raises(ValueError, match="shard 4 next, got 9"), sessions.begin() as session:
        planning.extend_plan(session, lease, 9, chunks[0])
    for _ in range(2):
        with sessions.begin() as session:
            assert planning.finish_planning(session, lease) == AtlasState.RUNNING
    with sessions() as session:
        assert session.get_one(Atlas, lease.atlas_id).images == 5
    assert shard_states(sessions, lease.atlas_id) == ["pending"] * 4


def test_nothing_is_leased_of_a_plan_that_is_not_complete(sessions: Sessions) -> None:
    lease = begun(sessions)
    with sessions.begin() as session:
        planning.extend_plan(session, lease, 0, shards("conv", [(0,)]))
        shard_id = session.scalars(select(Shard.id)).one()
        assert leases.lease_shard(session, shard_id, "w", 60) is None


def test_a_planner_that_was_frozen_changes_nothing_and_the_next_begins_anew(sessions: Sessions) -> None:
    frozen = begun(sessions, lease_seconds=-1)
    with sessions.begin() as session:
        planning.extend_plan(session, frozen, 0, shards("conv", [(0,), (1,)]))
    following = begun(sessions, atlas_id=frozen.atlas_id)
    assert shard_states(sessions, frozen.atlas_id) == []
    for late in (
        lambda session: planning.extend_plan(session, frozen, 0, shards("conv", [(5,)])),
        lambda session: planning.finish_planning(session, frozen),
    ):
        with pytest.raises(LostLease), sessions.begin() as session:
            late(session)
    with sessions.begin() as session:
        planning.fail_planning(session, frozen, "too late")
        planning.release_planning(session, frozen)
        assert not planning.renew_planning(session, frozen, 60)
        assert planning.renew_planning(session, following, 60)
        planning.extend_plan(session, following, 0, shards("conv", [(2,)]))
        assert planning.finish_planning(session, following) == AtlasState.RUNNING
    assert shard_states(sessions, frozen.atlas_id) == ["pending"]


def test_why_a_plan_failed_is_kept_but_not_at_any_length(sessions: Sessions) -> None:
    lease = begun(sessions)
    with sessions.begin() as session:
        planning.fail_planning(session, lease, "x" * (MAX_ERROR_CHARACTERS + 1))
    with sessions() as session:
        atlas = session.get_one(Atlas, lease.atlas_id)
    assert (atlas.state, atlas.error) == (AtlasState.FAILED, "x" * MAX_ERROR_CHARACTERS)


def test_plan_of_a_cancelled_atlas_is_dropped(sessions: Sessions) -> None:
    lease = begun(sessions)
    with sessions.begin() as session:
        planning.extend_plan(session, lease, 0, shards("conv", [(0,)]))
        atlases.request_cancel(session, lease.atlas_id)
    with pytest.raises(LostLease), sessions.begin() as session:
        planning.extend_plan(session, lease, 1, shards("conv", [(1,)]))
    assert state_of(sessions, lease.atlas_id) == AtlasState.CANCELLED
    assert shard_states(sessions, lease.atlas_id) == []


def test_a_plan_given_back_does_not_count(sessions: Sessions) -> None:
    lease = begun(sessions)
    for _ in range(5):
        with sessions.begin() as session:
            planning.release_planning(session, lease)
        lease = begun(sessions, atlas_id=lease.atlas_id)
    assert state_of(sessions, lease.atlas_id) == AtlasState.PLANNING


def test_plan_of_nothing_is_complete(sessions: Sessions) -> None:
    with sessions.begin() as session:
        atlas_id = running_atlas(session, [])
    assert state_of(sessions, atlas_id) == AtlasState.COMPLETE


def test_a_chunk_that_names_a_strange_layer_is_refused_whole(sessions: Sessions) -> None:
    lease = begun(sessions)
    plan = [*shards("conv", [(0,)]), *shards("nowhere", [(0,)])]
    with pytest.raises(UnknownLayer), sessions.begin() as session:
        planning.extend_plan(session, lease, 0, plan)
    assert state_of(sessions, lease.atlas_id) == AtlasState.PLANNING
    assert shard_states(sessions, lease.atlas_id) == []


@pytest.mark.parametrize(("cost_seconds", "priority"), [(1.0, "interactive"), (1000.0, "batch")])
def test_small_atlases_are_interactive_unless_said_otherwise(
    sessions: Sessions, cost_seconds: float, priority: str
) -> None:
    plan = [each.model_copy(update={"cost_seconds": cost_seconds}) for each in shards("conv", [(0,), (1,)])]
    with sessions.begin() as session:
        assert session.get_one(Atlas, running_atlas(session, plan, priority=None)).priority == priority
    with sessions.begin() as session:
        assert session.get_one(Atlas, running_atlas(session, plan, priority="batch")).priority == "batch"


def test_what_exists_already_is_done_at_once(sessions: Sessions) -> None:
    """Two seeds of units 0 and 1 exist: a shard of both is done, one with unit 2 too or with a third seed is not."""
    with sessions.begin() as session:
        finish(session, running_atlas(session, shards("conv", [(0, 1)], seeds=2), seeds=2))
    with sessions.begin() as session:
        atlas_id = running_atlas(session, [
            *shards("conv", [(0, 1), (1,), (0, 1, 2)], seeds=2),
            *shards("conv", [(0,)], seeds=3),
            *shards("conv", [(0,)], recipe=BOLD, seeds=1),
            *shards("classes", [(0,)], seeds=1),
        ])  # fmt: skip
    assert shard_states(sessions, atlas_id) == ["done", "done", "pending", "pending", "pending", "pending"]
    with sessions.begin() as session:
        again = running_atlas(session, shards("conv", [(0,), (1,)]))
    assert state_of(sessions, again) == AtlasState.COMPLETE


def test_plan_of_many_shards_is_quick(sessions: Sessions) -> None:
    name = FOURIER.content_hash()
    shard = ShardSpec(layer="conv", recipe_hash=name, units=(0, 1), seeds=1, images=2, cost_seconds=1)
    plan = (shard for _ in range(20_000))
    with sessions.begin() as session:
        atlas_id = running_atlas(session, plan)
    with sessions() as session:
        assert session.get_one(Atlas, atlas_id).images == 40_000


def test_atlases_without_a_planner_are_found(sessions: Sessions) -> None:
    with sessions.begin() as session:
        queued = atlases.create(session, wish(), max_open=MAX_OPEN)[0].id
        left = atlases.create(session, wish(), max_open=MAX_OPEN)[0].id
        planned = running_atlas(session)
        planning.begin_planning(session, left, -1)
        # That its planner is gone is certain; the other may still be on its way.
        assert planning.take_unplanned(session, [DeviceKind.CPU]) == [(left, DeviceKind.ANY)]
        session.execute(update(Atlas).values(created_at=clock.after(clock.now(session), -100)))
    with sessions.begin() as session:
        assert planning.take_unplanned(session, [DeviceKind.CPU]) == [(queued, DeviceKind.ANY)]
        assert planning.take_unplanned(session, [DeviceKind.CPU]) == []
        assert planning.begin_planning(session, left, 60) is not None
    assert state_of(sessions, planned) == AtlasState.RUNNING


def test_plans_for_devices_that_nobody_has_hold_up_no_others(sessions: Sessions) -> None:
    with sessions.begin() as session:
        for _ in range(12):
            atlases.create(session, wish(), max_open=MAX_OPEN, device_kind=DeviceKind.GPU)
        behind = atlases.create(session, wish(), max_open=MAX_OPEN)[0].id
        session.execute(update(Atlas).values(created_at=clock.after(clock.now(session), -100)))
        assert planning.take_unplanned(session, [DeviceKind.CPU]) == [(behind, DeviceKind.ANY)]
        assert len(planning.take_unplanned(session, [DeviceKind.GPU])) == 10


def test_cancel_gives_up_what_waits_and_keeps_what_runs(sessions: Sessions) -> None:
    with sessions.begin() as session:
        atlas_id = running_atlas(session)
        lease = lease_first(session, atlas_id)
    with sessions.begin() as session:
        atlases.request_cancel(session, atlas_id)
        atlases.request_cancel(session, atlas_id)
        assert leases.renew(session, "w", [lease.token], {}, 60) == set()
    assert shard_states(sessions, atlas_id) == ["running", "cancelled", "cancelled"]
    with sessions.begin() as session:
        assert leases.release(session, lease)
    assert shard_states(sessions, atlas_id) == ["cancelled"] * 3
    assert state_of(sessions, atlas_id) == AtlasState.CANCELLED


def test_shard_that_finishes_after_cancel_is_kept(sessions: Sessions) -> None:
    with sessions.begin() as session:
        atlas_id = running_atlas(session)
        lease = lease_first(session, atlas_id)
        atlases.request_cancel(session, atlas_id)
    with sessions.begin() as session:
        assert leases.commit_shard(session, lease, results(lease)) == AtlasState.CANCELLED
    assert shard_states(sessions, atlas_id) == ["done", "cancelled", "cancelled"]


def test_cancelled_atlas_is_resumed(sessions: Sessions) -> None:
    with sessions.begin() as session:
        atlas_id = running_atlas(session)
        finish(session, atlas_id, limit=1)
        atlases.request_cancel(session, atlas_id)
    with sessions.begin() as session:
        assert atlases.retry_failed(session, atlas_id) == 2
        finish(session, atlas_id)
    assert state_of(sessions, atlas_id) == AtlasState.COMPLETE


def test_atlas_cancelled_before_its_plan_is_queued_again(sessions: Sessions) -> None:
    with sessions.begin() as session:
        atlas_id = atlases.create(session, wish(), max_open=MAX_OPEN)[0].id
        atlases.request_cancel(session, atlas_id)
        assert atlases.retry_failed(session, atlas_id) == 0
    assert state_of(sessions, atlas_id) == AtlasState.QUEUED


def test_failed_shards_are_tried_again(sessions: Sessions) -> None:
    with sessions.begin() as session:
        atlas_id = running_atlas(session)
        leases.fail_attempt(session, lease_first(session, atlas_id), "boom", 1)
        finish(session, atlas_id)
    assert state_of(sessions, atlas_id) == AtlasState.COMPLETE_WITH_FAILURES
    with sessions.begin() as session:
        assert atlases.retry_failed(session, atlas_id) == 1
    with sessions() as session:
        shard = session.scalars(select(Shard).where(Shard.state == ShardState.PENDING)).one()
        assert (shard.attempts, shard.error) == (0, None)
    with sessions.begin() as session:
        finish(session, atlas_id)
    assert state_of(sessions, atlas_id) == AtlasState.COMPLETE


def test_what_cannot_be_done_says_why(sessions: Sessions) -> None:
    with sessions.begin() as session:
        queued = atlases.create(session, wish(), max_open=MAX_OPEN)[0].id
        complete = running_atlas(session, [])
        with pytest.raises(Conflict, match="is queued"):
            atlases.retry_failed(session, queued)
        with pytest.raises(Conflict, match=r"No shard.*complete"):
            atlases.retry_failed(session, complete)
        with pytest.raises(Conflict, match="over already"):
            atlases.request_cancel(session, complete)
        for command in (atlases.request_cancel, atlases.retry_failed, lock_atlas):
            with pytest.raises(NotFound):
                command(session, "nothing")


def lease_first(session: Session, atlas_id: str, worker: str = "w") -> Lease:
    """Lease the first waiting shard of the atlas."""
    waiting = select(Shard.id).where(Shard.atlas_id == atlas_id, Shard.state == ShardState.PENDING)
    lease = leases.lease_shard(session, session.scalars(waiting.order_by(Shard.id)).first() or 0, worker, 60)
    assert lease is not None
    return lease


def finish(session: Session, atlas_id: str, limit: int = 1000) -> None:
    """Compute up to `limit` waiting shards of the atlas."""
    waiting = select(Shard.id).where(Shard.atlas_id == atlas_id, Shard.state == ShardState.PENDING).limit(limit)
    for _ in session.scalars(waiting).all():
        lease = lease_first(session, atlas_id)
        leases.commit_shard(session, lease, results(lease))
