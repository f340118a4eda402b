"""A pass over a probe set: ranges, then everything put together, then views; each once, whatever happens between."""

import pytest
from sqlalchemy import func, select, update

from core.errors import LostLease, NotFound, ProbeSetChanged
from core.specs import AtlasSpec, Priority, ShardKind
from db import atlases, passes
from db.leases import commit_shard, fail_attempt, lease_shard, release
from db.models import AtlasState, Shard, ShardState
from db.planning import begin_planning, extend_plan, finish_planning
from db.probe_models import (
    PassLayer,
    PassPart,
    PassState,
    ProbePass,
    ProbeSet,
    ProbeSetState,
    ProbeSkip,
    TopImage,
    UnitAnswers,
    UnitLabel,
    UnitView,
)
from db.queries.atlases import get_atlas
from db.queries.passes import find_pass
from db.session import Sessions
from db.work import BackwardLease, MergeLease, ProbeLease
from tests.integration import pass_records as probe
from tests.integration import records
from tests.integration.racing import race

UNITS = 9  # of "conv" and "classes"


@pytest.fixture(autouse=True)
def described(sessions: Sessions) -> None:
    with sessions.begin() as session:
        records.describe(session)
        probe.probe_set(session)


def kinds(sessions: Sessions, atlas_id: str) -> dict[str, int]:
    """How many shards of each kind and state."""
    with sessions() as session:
        rows = select(Shard.kind, Shard.state, func.count()).where(Shard.atlas_id == atlas_id)
        return {f"{kind} {state}": n for kind, state, n in session.execute(rows.group_by(Shard.kind, Shard.state))}


def count(sessions: Sessions, table: type) -> int:
    with sessions() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def test_stage_follows_stage_until_the_atlas_is_complete(sessions: Sessions) -> None:
    with sessions.begin() as session:
        atlas_id = probe.probe_atlas(session)
    assert kinds(sessions, atlas_id) == {"probe pending": 3}
    for _ in range(3):
        with sessions.begin() as session:
            lease = probe.take_next(session, atlas_id)
            assert isinstance(lease, ProbeLease)
            assert commit_shard(session, lease, probe.part(lease)) == AtlasState.RUNNING
    assert kinds(sessions, atlas_id) == {"probe done": 3, "merge pending": 1}
    assert count(sessions, PassPart) == 6  # three ranges of two layers

    with sessions.begin() as session:
        lease = probe.take_next(session, atlas_id)
        assert isinstance(lease, MergeLease)
        assert [len(keys) for keys in lease.parts.values()] == [3, 3]
        probe.store_layers(session, lease)
    with sessions.begin() as session:
        assert commit_shard(session, lease, probe.merged(lease)) == AtlasState.RUNNING
    assert kinds(sessions, atlas_id) == {"probe done": 3, "merge done": 1, "backward pending": 2}
    assert (count(sessions, PassPart), count(sessions, PassLayer)) == (0, 2)
    assert count(sessions, UnitAnswers) == UNITS
    assert count(sessions, UnitLabel) == count(sessions, TopImage) == 2 * UNITS

    with sessions.begin() as session:
        lease = probe.take_next(session, atlas_id)
        assert isinstance(lease, BackwardLease)
        assert [(top.unit, top.rank, top.image) for top in lease.tops[:3]] == [(0, 0, 0), (0, 1, 9), (1, 0, 1)]
        assert commit_shard(session, lease, probe.views(lease)) == AtlasState.RUNNING
    with sessions.begin() as session:
        assert probe.finish(session, atlas_id) == AtlasState.COMPLETE
    assert count(sessions, UnitView) == 4 * UNITS
    with sessions() as session:
        made = session.scalars(select(ProbePass)).one()
        assert (made.state, made.images) == (PassState.MERGED, probe.IMAGES)
        similar = [found for found in session.scalars(select(UnitAnswers.similar)) if found]
        assert [found[0][1:] for found in similar] == [[1, 0.9]]


def test_progress_counts_what_follows_from_the_start(sessions: Sessions) -> None:
    with sessions.begin() as session:
        atlas_id = probe.probe_atlas(session)
    everything = probe.IMAGES + 2 * UNITS
    with sessions() as session:
        assert get_atlas(session, atlas_id).progress.images == everything
    with sessions.begin() as session:
        probe.finish(session, atlas_id)
    with sessions() as session:
        progress = get_atlas(session, atlas_id).progress
    assert (progress.images, progress.images_done, progress.fraction) == (everything, everything, 1.0)


@pytest.mark.parametrize("round_", range(3))
def test_the_last_two_ranges_at_once_plan_one_merge(sessions: Sessions, round_: int) -> None:
    with sessions.begin() as session:
        atlas_id = probe.probe_atlas(session, [(0, 4), (5, 9)])
    with sessions.begin() as session:
        taken = [probe.take_next(session, atlas_id) for _ in range(2)]

    def commit(lease: object) -> AtlasState:
        assert isinstance(lease, ProbeLease)
        with sessions.begin() as session:
            return commit_shard(session, lease, probe.part(lease))

    race([lambda lease=lease: commit(lease) for lease in taken])
    assert kinds(sessions, atlas_id) == {"probe done": 2, "merge pending": 1}


def test_two_ranges_that_skip_at_once_are_both_counted(sessions: Sessions) -> None:
    with sessions.begin() as session:
        atlas_ids = [probe.probe_atlas(session, [(0, 9)], top=top) for top in (2, 3)]
    with sessions.begin() as session:
        taken = [probe.take_next(session, atlas_id) for atlas_id in atlas_ids]

    def commit(lease: object, name: str) -> AtlasState:
        assert isinstance(lease, ProbeLease)
        with sessions.begin() as session:
            return commit_shard(session, lease, probe.part(lease, (("3.png", "Broken."), (name, "Broken."))))

    race([lambda lease=lease, n=n: commit(lease, f"{n}.png") for n, lease in enumerate(taken)])
    with sessions() as session:
        assert session.scalars(select(ProbeSet.skipped)).one() == count(sessions, ProbeSkip) == 3


def test_said_twice_is_said_once(sessions: Sessions) -> None:
    with sessions.begin() as session:
        atlas_id = probe.probe_atlas(session, [(0, 9)])
    with sessions.begin() as session:
        lease = probe.take_next(session, atlas_id)
        assert isinstance(lease, ProbeLease)
    for _ in range(2):
        with sessions.begin() as session:
            commit_shard(session, lease, probe.part(lease, (("3.png", "It is broken."),)))
    assert kinds(sessions, atlas_id) == {"probe done": 1, "merge pending": 1}
    assert count(sessions, ProbeSkip) == 1
    with sessions() as session:
        assert session.scalars(select(ProbeSet.skipped)).one() == 1
        assert session.scalars(select(ProbePass.images)).one() == 9


def test_an_attempt_to_put_together_that_died_leaves_nothing(sessions: Sessions) -> None:
    with sessions.begin() as session:
        atlas_id = probe.probe_atlas(session, [(0, 9)])
        lease = probe.take_next(session, atlas_id)
        assert isinstance(lease, ProbeLease)
        commit_shard(session, lease, probe.part(lease))
    with sessions.begin() as session:
        died = probe.take_next(session, atlas_id)
        assert isinstance(died, MergeLease)
        probe.store_layers(session, died)
    with sessions.begin() as session:
        release(session, died)
        again = probe.take_next(session, atlas_id)
        assert isinstance(again, MergeLease)
    with sessions.begin() as session, pytest.raises(LostLease):
        passes.store_layer(session, died, died.layers[0][0], "f" * 64, [probe.unit_row(0)])
    with sessions.begin() as session:
        passes.forget_layers(session, again)
    assert [count(sessions, table) for table in (UnitAnswers, UnitLabel, TopImage, PassLayer)] == [0] * 4


def test_a_range_that_fails_for_good_ends_the_atlas_and_a_retry_goes_on(sessions: Sessions) -> None:
    with sessions.begin() as session:
        atlas_id = probe.probe_atlas(session, [(0, 4), (5, 9)])
        lease = probe.take_next(session, atlas_id)
        assert lease is not None
        fail_attempt(session, lease, "the set was deleted", max_attempts=1)
    with sessions.begin() as session:
        assert probe.finish(session, atlas_id) == AtlasState.COMPLETE_WITH_FAILURES
    assert kinds(sessions, atlas_id) == {"probe done": 1, "probe failed": 1}
    with sessions() as session:
        [failure] = get_atlas(session, atlas_id).failures
    assert (failure.kind, failure.layer, failure.first_image, failure.last_image) == (ShardKind.PROBE, None, 0, 4)
    with sessions.begin() as session:
        atlases.retry_failed(session, atlas_id, max_open=10)
    with sessions.begin() as session:
        assert probe.finish(session, atlas_id) == AtlasState.COMPLETE


def test_what_follows_a_cancelled_stage_waits_for_a_retry(sessions: Sessions) -> None:
    with sessions.begin() as session:
        atlas_id = probe.probe_atlas(session, [(0, 9)])
        lease = probe.take_next(session, atlas_id)
        assert isinstance(lease, ProbeLease)
    with sessions.begin() as session:
        atlases.request_cancel(session, atlas_id)
    with sessions.begin() as session:
        assert commit_shard(session, lease, probe.part(lease)) == AtlasState.CANCELLED
    assert kinds(sessions, atlas_id) == {"probe done": 1, "merge cancelled": 1}
    with sessions.begin() as session:
        atlases.retry_failed(session, atlas_id, max_open=10)
    with sessions.begin() as session:
        assert probe.finish(session, atlas_id) == AtlasState.COMPLETE


def test_both_halves_in_one_atlas(sessions: Sessions) -> None:
    with sessions.begin() as session:
        spec = records.wish(probe={"set": "photos", "top": 2}, layers=("conv",))
        atlas, _ = atlases.create(session, spec, max_open=10)
        assert AtlasSpec.model_validate(atlas.spec).probe.set == probe.SET_ID  # type: ignore[union-attr]
        assert atlas.images == 6 + probe.IMAGES + 12
        lease = begin_planning(session, atlas.id, 60)
        assert lease is not None
        assert passes.begin_pass(session, lease, 4)
        extend_plan(session, lease, 0, [probe.probe_range(0, 9), *records.shards("conv", [range(6)])])
        finish_planning(session, lease)
    with sessions.begin() as session:
        assert probe.finish(session, atlas.id) == AtlasState.COMPLETE
    assert kinds(sessions, atlas.id) == {"preferred done": 1, "probe done": 1, "merge done": 1, "backward done": 1}


def test_the_same_pass_is_made_once(sessions: Sessions) -> None:
    with sessions.begin() as session:
        first = probe.probe_atlas(session)
    with sessions.begin() as session:
        probe.finish(session, first)
    with sessions.begin() as session:
        again = probe.probe_atlas(session)
        other = probe.probe_atlas(session, top=1)
    assert kinds(sessions, again) == {}
    assert kinds(sessions, other) == {"probe pending": 3}
    with sessions() as session:
        assert get_atlas(session, again).state == AtlasState.COMPLETE
    assert count(sessions, ProbePass) == 2


@pytest.mark.parametrize("state", [ProbeSetState.FILLING, ProbeSetState.DELETED])
def test_a_set_that_is_not_ready_is_refused_with_nothing_stored(sessions: Sessions, state: ProbeSetState) -> None:
    with sessions.begin() as session:
        session.execute(update(ProbeSet).values(state=state))
    with pytest.raises(ProbeSetChanged), sessions.begin() as session:
        probe.probe_atlas(session)
    with pytest.raises(NotFound), sessions.begin() as session:
        atlases.create(session, records.wish((), probe={"set": "nothing"}), max_open=10)
    assert count(sessions, Shard) == 0


def test_a_result_of_another_kind_is_refused(sessions: Sessions) -> None:
    with sessions.begin() as session:
        atlas_id = probe.probe_atlas(session)
        lease = probe.take_next(session, atlas_id)
        assert isinstance(lease, ProbeLease)
    with sessions.begin() as session, pytest.raises(TypeError):
        commit_shard(session, lease, records.Pictures([]))
    with sessions.begin() as session, pytest.raises(ValueError, match="2 have none"):
        commit_shard(session, lease, passes.Part(blobs={}, images=4, skipped=(), seconds=1.0))
    with sessions() as session:
        assert session.get_one(Shard, lease.shard_id).state == ShardState.RUNNING
    with sessions.begin() as session:
        assert lease_shard(session, lease.shard_id, "other", 60) is None


def test_nothing_is_committed_to_a_set_that_was_deleted_meanwhile(sessions: Sessions) -> None:
    with sessions.begin() as session:
        atlas_id = probe.probe_atlas(session, [(0, 9)])
        lease = probe.take_next(session, atlas_id)
        assert isinstance(lease, ProbeLease)
    with sessions.begin() as session:
        session.execute(update(ProbeSet).values(state=ProbeSetState.DELETED))
    with pytest.raises(ProbeSetChanged), sessions.begin() as session:
        commit_shard(session, lease, probe.part(lease))
    assert count(sessions, PassPart) == 0


def test_a_pass_with_fewer_units_is_not_the_same_and_stands_behind_the_whole(sessions: Sessions) -> None:
    def atlas(units: tuple[int, ...]) -> str:
        with sessions.begin() as session:
            spec = records.wish((), probe={"set": "photos", "top": 2}, units=units, layers=("conv",))
            made, _ = atlases.create(session, spec, max_open=10)
            lease = begin_planning(session, made.id, 60)
            assert lease is not None
            if passes.begin_pass(session, lease, 4):
                extend_plan(session, lease, 0, [probe.probe_range(0, 9)])
            finish_planning(session, lease)
        with sessions.begin() as session:
            probe.finish(session, made.id)
        return made.id

    few, all_, fewer, others = atlas((0, 1)), atlas(()), atlas((1,)), atlas((0, 5))
    assert [bool(kinds(sessions, each)) for each in (few, all_, fewer, others)] == [True, True, False, False]
    with sessions() as session:
        shown = find_pass(session, "tiny")
    assert shown is not None
    assert shown.atlas_id == all_


def test_many_views_are_a_batch_however_small_the_set(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    with sessions.begin() as session:
        small = probe.probe_atlas(session)
    monkeypatch.setattr("db.planning.MOST_INTERACTIVE_VIEWS", 2 * UNITS - 1)
    with sessions.begin() as session:
        large = probe.probe_atlas(session)
    with sessions() as session:
        assert get_atlas(session, small).priority == Priority.INTERACTIVE
        assert get_atlas(session, large).priority == Priority.BATCH
