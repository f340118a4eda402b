"""A worker is frozen past its lease, another does its shard, and it wakes up: it can change nothing any more."""

import pytest

from tests.faults import aftermath
from tests.faults.fleet import Fleet, processes, thaw

pytestmark = pytest.mark.faults


def test_a_worker_frozen_past_its_lease_is_refused_when_it_wakes_up(fleet: Fleet):
    atlas_id = fleet.begin()
    frozen, shard = fleet.catch()
    aftermath.check(fleet, atlas_id)  # without it
    pictures = fleet.installation.pictures()

    thaw(*processes(frozen))
    fleet.wait_said(rf"shard {shard.id}\b.*(no longer ours|was lost|leased to another)")
    [now] = [other for other in fleet.installation.shards(atlas_id) if other.id == shard.id]
    assert fleet.holder(now) is not frozen
    assert now.attempts == 2
    aftermath.check(fleet, atlas_id)
    assert [(p.id, p.blob, p.shard_id) for p in fleet.installation.pictures()] == [
        (p.id, p.blob, p.shard_id) for p in pictures
    ]

    again = fleet.create(layers=("classes",))  # and it is a worker like the other one
    aftermath.check(fleet, again)
    assert len(fleet.alive) == 2
