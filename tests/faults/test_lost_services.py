"""The broker is killed or loses everything, the database is locked: in the middle of the work."""

import time

import pytest
from sqlalchemy import text

from core.recipes import resolve
from core.specs import AtlasSpec
from tests.integration.test_workers import missing_or_double
from tests.services import Installation, running_redis, wait_until

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


def test_broker_killed_and_started_again(tmp_path, own_redis):
    installation = Installation(tmp_path / "home", own_redis.url, shard_seconds=0.01)
    with installation.worker() as worker:
        installation.wait_described()
        atlas_id = installation.create(MANY)
        wait_until(lambda: done(installation, atlas_id) > 2, what="some shards")
        own_redis.kill()
        wait_until(lambda: "broker does not answer" in worker.log or "Cannot connect" in worker.log, what="a log line")
        own_redis.start()

        installation.wait_state(atlas_id, "complete")
        assert missing_or_double(installation, MANY) == {}
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
