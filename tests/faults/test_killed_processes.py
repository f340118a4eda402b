"""SIGKILL, in the middle of a whole network's atlas: of a child, of a worker, of all workers, of the API."""

import os
import signal

import pytest

from tests.faults import aftermath
from tests.faults.api_process import ApiProcess
from tests.faults.fleet import Fleet, child, processes, thaw

pytestmark = pytest.mark.faults


def test_a_child(fleet: Fleet):
    atlas_id = fleet.begin()
    victim, shard = fleet.catch()
    os.kill(child(victim), signal.SIGKILL)
    thaw(victim.process.pid)

    fleet.wait_said(r"ERROR.*signal 9")  # the parent looks every few seconds; the atlas does not wait for it
    aftermath.check(fleet, atlas_id)
    assert again(fleet, shard.id) == 2
    assert fleet.said(rf"leases ran out, to be done again: shards .*\b{shard.id}\b")
    assert len(fleet.alive) == 2


def test_a_worker(fleet: Fleet):
    atlas_id = fleet.begin()
    victim, shard = fleet.catch()
    victim.kill()

    aftermath.check(fleet, atlas_id)
    assert again(fleet, shard.id) == 2
    assert fleet.said(rf"leases ran out, to be done again: shards .*\b{shard.id}\b")


def test_all_workers(fleet: Fleet):
    atlas_id = fleet.begin()
    held = {}
    for worker in fleet.alive:
        _, shard = fleet.catch(worker)
        held[shard.id] = worker
    for worker in held.values():
        worker.kill()
    before = fleet.done(atlas_id)
    fleet.muster()

    aftermath.check(fleet, atlas_id)
    assert before < len(fleet.installation.shards(atlas_id))
    for shard_id in held:
        assert again(fleet, shard_id) == 2
        assert fleet.said(rf"leases ran out, to be done again: shards .*\b{shard_id}\b")


def again(fleet: Fleet, shard_id: int) -> int:
    """How many attempts the shard has taken."""
    [shard] = [shard for shard in fleet.all_shards() if shard.id == shard_id]
    return int(shard.attempts)


def test_the_api(fleet: Fleet):
    """What was asked for before is made without it; what is asked for afterwards is, too."""
    with ApiProcess(fleet.installation) as api:
        first = api.submit(fleet.wish())
        worker, _ = fleet.catch()
        api.kill()
        thaw(*processes(worker))
        aftermath.check(fleet, first)

        api.start()
        assert api.state(first) == "complete"
        second = api.submit(fleet.wish())
        aftermath.check(fleet, second)
        assert api.state(second) == "complete"
