"""Who is served: people side by side, atlases by their weights, small jobs before large ones, devices by their kind."""

import pytest

from broker.messages import send_shard
from core.specs import DeviceKind, Priority
from db import atlases
from db.models import AtlasState, ShardState
from db.queries.atlases import get_progress
from tests.faults import aftermath
from tests.faults.fleet import Fleet, processes, thaw
from tests.services import wait_until

pytestmark = pytest.mark.faults

ENOUGH = 12
"""Of shards done, to see how they were shared; the atlases have sixteen each."""


@pytest.fixture
def stopped(fleet: Fleet) -> Fleet:
    """The fleet with its workers frozen: what is wished for begins at one moment, when they are thawed."""
    fleet.broker.flush()
    for worker in fleet.alive:
        fleet.freeze_idle(worker)
    return fleet


def go(fleet: Fleet) -> None:
    for worker in fleet.alive:
        thaw(*processes(worker))


def test_two_people_are_served_side_by_side_whatever_the_sizes(stopped: Fleet):
    large = [stopped.plan_by_hand(owner="anna")[0] for _ in range(3)]
    small, _ = stopped.plan_by_hand(owner="bert")
    go(stopped)
    wait_until(lambda: stopped.done(small) >= ENOUGH, 60, "most of the smaller one's work")

    assert ENOUGH / 2 <= sum(stopped.done(atlas_id) for atlas_id in large) <= ENOUGH * 2
    aftermath.check(stopped, small, *large)


def test_an_atlas_of_more_weight_gets_more(stopped: Fleet):
    light, _ = stopped.plan_by_hand(owner="anna", weight=1.0)
    heavy, _ = stopped.plan_by_hand(owner="anna", weight=3.0)
    go(stopped)
    wait_until(lambda: stopped.done(heavy) >= ENOUGH, 60, "most of the heavier one's work")

    assert 1 <= stopped.done(light) <= ENOUGH / 1.5
    aftermath.check(stopped, light, heavy)


def test_a_small_job_behind_a_large_atlas_is_done_first(fleet: Fleet):
    large = [fleet.plan_by_hand(priority=Priority.BATCH)[0] for _ in range(3)]
    wait_until(lambda: fleet.done(large[0]) >= 2, 60, "the large one under way")
    small = fleet.create(layers=("classes",))
    fleet.installation.wait_state(small, "complete")

    assert sum(fleet.done(atlas_id) for atlas_id in large) < 3 * 16 - 6
    aftermath.check(fleet, small, *large)


def test_work_for_a_gpu_waits_for_one_and_says_so(fleet: Fleet):
    unplanned = fleet.installation.create(fleet.wish(), device_kind=DeviceKind.GPU)
    waiting, shard_ids = fleet.plan_by_hand(device_kind=DeviceKind.GPU)
    send_shard(fleet.installation.celery, shard_ids[0])  # on the wrong queue
    for_cpu = fleet.installation.create(fleet.wish(), device_kind=DeviceKind.CPU)
    aftermath.check(fleet, fleet.create(layers=("classes",)), for_cpu)

    with fleet.installation.sessions() as session:
        state, progress = get_progress(session, waiting)
    assert (state, progress.shards) == (AtlasState.RUNNING, {ShardState.PENDING: len(shard_ids)})
    assert fleet.installation.atlas(unplanned).state == AtlasState.QUEUED
    assert {shard.enqueued_at for shard in fleet.installation.shards(waiting)} == {None}
    with fleet.installation.sessions.begin() as session:
        atlases.request_cancel(session, waiting)
    with fleet.installation.sessions.begin() as session:
        atlases.request_cancel(session, unplanned)
