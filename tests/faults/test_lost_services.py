"""The broker is killed or loses everything, the database is locked: in the middle of the work."""

import os
import signal
import time

import pytest
from sqlalchemy import text

from core.recipes import resolve
from core.specs import AtlasSpec
from tests.integration.test_workers import missing_or_double
from tests.services import Installation, Redis, running_redis, wait_until

pytestmark = pytest.mark.faults

MANY = AtlasSpec(network="demo", layers=("conv1",), units=tuple(range(12)), recipes=resolve(["bold", "soft"], 200))


def done(installation: Installation, atlas_id: str) -> int:
    return sum(shard.state == "done" for shard in installation.shards(atlas_id))


@pytest.fixture
def own_redis():
    with running_redis() as server:
        yield server


def test_every_message_lost(tmp_path, own_redis):
    installation = Installation(tmp_path / "home", own_redis.url, shard_seconds=0.01)
    with installation.worker():
        installation.wait_described()
        atlas_id = installation.create(MANY)
        wait_until(lambda: done(installation, atlas_id) > 2, what="some shards")
        own_redis.flush()

        installation.wait_state(atlas_id, "complete")
        assert missing_or_double(installation, MANY) == {}
    installation.close()


def restart(redis: Redis) -> None:
    redis.kill()
    redis.start()


def be_away(redis: Redis) -> None:
    redis.kill()
    time.sleep(3)
    redis.start()


def freeze(redis: Redis) -> None:
    os.kill(redis.process.pid, signal.SIGSTOP)
    time.sleep(5)
    os.kill(redis.process.pid, signal.SIGCONT)


@pytest.mark.parametrize("trouble", [restart, be_away, freeze])
def test_broker_in_trouble(tmp_path, own_redis, trouble):
    installation = Installation(tmp_path / "home", own_redis.url, shard_seconds=0.01)
    with installation.worker() as worker:
        installation.wait_described()
        atlas_id = installation.create(MANY)
        wait_until(lambda: done(installation, atlas_id) > 2, what="some shards")
        trouble(own_redis)

        installation.wait_state(atlas_id, "complete")
        assert missing_or_double(installation, MANY) == {}
        trouble(own_redis)  # and while the worker is idle
        again = installation.create(MANY.model_copy(update={"seeds": 2}))
        installation.wait_state(again, "complete")
        assert worker.process.poll() is None
    installation.close()


def test_the_database_is_locked_for_longer_than_a_lease(tmp_path, own_redis):
    """SQLite's write lock held by somebody else: heartbeats and commits wait or fail, nothing is lost."""
    installation = Installation(tmp_path / "home", own_redis.url, shard_seconds=0.01)
    with installation.worker() as worker:
        installation.wait_described()
        atlas_id = installation.create(MANY)
        wait_until(lambda: done(installation, atlas_id) > 2, what="some shards")
        with installation.sessions.begin() as session:
            session.execute(text("SELECT 1"))
            before = done(installation, atlas_id)
            time.sleep(installation.settings.lease_seconds + 1)
            assert done(installation, atlas_id) == before

        installation.wait_state(atlas_id, "complete")
        assert missing_or_double(installation, MANY) == {}
        assert worker.process.poll() is None
    installation.close()
