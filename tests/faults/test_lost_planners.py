"""A planner is killed, or frozen past its lease, when half of its plan is stored: another makes the plan anew."""

from collections.abc import Iterator

import pytest

from broker.messages import send_plan
from db.models import AtlasState
from tests.faults import aftermath
from tests.faults.fleet import Fleet, processes, thaw
from tests.services import Worker, wait_until

pytestmark = pytest.mark.faults

PART = 4


@pytest.fixture
def slow_planner(fleet: Fleet) -> Iterator[Worker]:
    """A worker more, whose plans take long."""
    worker = fleet.hire("tests.faults.slow_planner")
    yield worker.wait_ready(120)
    worker.kill()


def caught_planning(fleet: Fleet, planner: Worker) -> str:
    """An atlas whose planner is frozen, and holds nothing but its lease, when a part of its plan is stored."""
    others = [worker for worker in fleet.alive if worker is not planner]
    for worker in others:
        fleet.freeze_idle(worker)
    atlas_id = fleet.create()
    for _ in others:  # a frozen worker may swallow a message, one each
        send_plan(fleet.installation.celery, atlas_id)
    wait_until(lambda: len(fleet.installation.shards(atlas_id)) >= PART, 60, "a part of a plan")
    fleet.freeze_idle(planner)
    assert fleet.installation.atlas(atlas_id).state == AtlasState.PLANNING
    for worker in others:
        thaw(*processes(worker))
    return atlas_id


def test_killed_in_the_middle_of_a_plan(fleet: Fleet, slow_planner: Worker):
    atlas_id = caught_planning(fleet, slow_planner)
    partial = {shard.id for shard in fleet.installation.shards(atlas_id)}
    slow_planner.kill()

    aftermath.check(fleet, atlas_id)
    assert not partial & {shard.id for shard in fleet.installation.shards(atlas_id)}
    assert fleet.installation.atlas(atlas_id).plan_attempts == 2
    assert fleet.said(f"atlas {atlas_id}: planning begins, attempt 2")


def test_frozen_in_the_middle_of_a_plan_it_adds_nothing_when_it_wakes_up(fleet: Fleet, slow_planner: Worker):
    atlas_id = caught_planning(fleet, slow_planner)
    aftermath.check(fleet, atlas_id)
    plan = [shard.id for shard in fleet.installation.shards(atlas_id)]

    thaw(*processes(slow_planner))
    fleet.wait_said(f"atlas {atlas_id}: .*somebody else's")
    assert [shard.id for shard in fleet.installation.shards(atlas_id)] == plan
    slow_planner.terminate()
    assert slow_planner.wait() == 0
    aftermath.check(fleet, atlas_id)
