"""RabbitMQ instead of Redis, by its URL alone: atlases are made, in order of urgency, through the same faults."""

from collections.abc import Iterator

import pytest

from broker.messages import send_shard
from core.specs import Priority
from tests.faults import aftermath
from tests.faults.fleet import Fleet, processes, thaw, trial
from tests.rabbitmq import running_rabbitmq
from tests.services import running_postgres_server

pytestmark = pytest.mark.faults

HELD = 4
"""Two workers hold one message each before the first urgent one comes, and the last may begin side by side."""


@pytest.fixture(scope="module")
def module_fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with running_rabbitmq() as broker, running_postgres_server() as postgres:
        made = Fleet(tmp_path_factory.mktemp("rabbit"), broker, postgres)
        try:
            yield made
        finally:
            made.close()


@pytest.fixture
def rabbit_fleet(module_fleet: Fleet) -> Iterator[Fleet]:
    """Two workers on a RabbitMQ."""
    with trial(module_fleet) as made:
        yield made


def test_a_worker_is_killed(rabbit_fleet: Fleet):
    atlas_id = rabbit_fleet.begin()
    victim, shard = rabbit_fleet.catch()
    victim.kill()
    aftermath.check(rabbit_fleet, atlas_id)
    assert rabbit_fleet.said(rf"leases ran out, to be done again: shards .*\b{shard.id}\b")


def test_rabbitmq_is_restarted(rabbit_fleet: Fleet):
    atlas_id = rabbit_fleet.begin()
    rabbit_fleet.broker.stop()
    rabbit_fleet.wait_said(r"WARNING.*Connection to broker lost|ERROR.*Cannot connect to amqp")
    rabbit_fleet.broker.start()
    aftermath.check(rabbit_fleet, atlas_id, rabbit_fleet.create(layers=("classes",)))
    assert len(rabbit_fleet.alive) == 2


def check_what_is_urgent_overtakes(fleet: Fleet) -> None:
    """Of messages that wait, the urgent ones are taken first, though they were sent last."""
    for worker in fleet.alive:
        fleet.freeze_idle(worker)
    batch, batch_ids = fleet.plan_by_hand(priority=Priority.BATCH)
    urgent, urgent_ids = fleet.plan_by_hand(priority=Priority.INTERACTIVE)
    for shard_id in batch_ids:
        send_shard(fleet.installation.celery, shard_id, priority=Priority.BATCH)
    for shard_id in urgent_ids:
        send_shard(fleet.installation.celery, shard_id, priority=Priority.INTERACTIVE)
    for worker in fleet.alive:
        thaw(*processes(worker))

    aftermath.check(fleet, batch, urgent)
    order = fleet.begun()
    last = max(order.index(shard_id) for shard_id in urgent_ids)
    before = [shard_id for shard_id in order[:last] if shard_id in batch_ids]
    assert len(before) <= HELD


def test_what_is_urgent_overtakes(rabbit_fleet: Fleet):
    check_what_is_urgent_overtakes(rabbit_fleet)


def test_what_is_urgent_overtakes_with_redis_too(fleet: Fleet):
    fleet.broker.flush()
    check_what_is_urgent_overtakes(fleet)
