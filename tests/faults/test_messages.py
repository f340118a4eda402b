"""Messages come twice, in the wrong order, and to two workers at once: every shard is computed once."""

from collections import Counter

import pytest
import redis

from broker.messages import send_plan, send_shard
from tests.faults import aftermath
from tests.faults.fleet import Fleet, child, processes, thaw
from tests.services import wait_until

pytestmark = pytest.mark.faults

NOTHING = r"shard \d+: nothing to do here"


def test_every_message_comes_twice_and_out_of_order(fleet: Fleet):
    for worker in fleet.alive:
        fleet.freeze_idle(worker)
    atlas_id, shard_ids = fleet.plan_by_hand()
    for _ in range(2):
        for shard_id in reversed(shard_ids):
            send_shard(fleet.installation.celery, shard_id)
        send_plan(fleet.installation.celery, atlas_id)  # after its shards
    for worker in fleet.alive:
        thaw(*processes(worker))

    aftermath.check(fleet, atlas_id)
    wait_until(lambda: len(fleet.said(NOTHING)) >= len(shard_ids), 60, "what the second messages come to")
    assert Counter(fleet.begun()) == Counter(shard_ids)
    assert {shard.attempts for shard in fleet.installation.shards(atlas_id)} == {1}
    assert fleet.installation.atlas(atlas_id).plan_attempts == 1


def test_two_workers_race_for_one_shard(fleet: Fleet):
    fleet.broker.flush()
    children = [child(worker) for worker in fleet.alive]
    for worker in fleet.alive:
        fleet.freeze_idle(worker)
        thaw(worker.process.pid)  # the parents take messages
    atlas_id, shard_ids = fleet.plan_by_hand()
    for _ in children:
        send_shard(fleet.installation.celery, shard_ids[0])
    with redis.Redis(port=fleet.broker.port) as client:
        wait_until(lambda: client.hlen("deepvis:unacked") == len(children), what="a message for each of the two")
    thaw(*children)

    aftermath.check(fleet, atlas_id)
    assert Counter(fleet.begun()) == Counter(shard_ids)
    assert len(fleet.said(rf"shard {shard_ids[0]}: nothing to do here")) >= 1
