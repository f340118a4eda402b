"""Redis is restarted, emptied, away or silent: in the middle of an atlas, and while the workers are idle."""

import os
import signal
import time
from collections.abc import Callable

import pytest

from tests.faults import aftermath
from tests.faults.fleet import LEASE_SECONDS, Fleet
from tests.services import Redis

pytestmark = pytest.mark.faults

LOST = r"WARNING.*(Connection to broker lost|Cannot connect to redis)|ERROR.*Cannot connect to redis"


def empty(redis: Redis) -> None:
    redis.flush()


def restart(redis: Redis) -> None:
    redis.kill()
    redis.start()


def be_away(redis: Redis) -> None:
    redis.kill()
    time.sleep(LEASE_SECONDS)
    redis.start()


def freeze(redis: Redis) -> None:
    """For longer than any socket's time out."""
    os.kill(redis.process.pid, signal.SIGSTOP)
    time.sleep(LEASE_SECONDS)
    os.kill(redis.process.pid, signal.SIGCONT)


@pytest.mark.parametrize("trouble", [empty, restart, be_away, freeze])
def test_an_atlas_outlives_trouble_with_redis(fleet: Fleet, trouble: Callable[[Redis], None]):
    atlas_id = fleet.begin()
    trouble(fleet.broker)
    aftermath.check(fleet, atlas_id)
    trouble(fleet.broker)  # and while nothing is to be done
    aftermath.check(fleet, fleet.create(layers=("classes",)))
    assert len(fleet.alive) == 2
    if trouble in (restart, be_away):
        assert fleet.said(LOST)
