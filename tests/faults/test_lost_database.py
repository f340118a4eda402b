"""The database is restarted, crashes, or is away or locked for longer than a lease."""

import signal
import time

import pytest
from sqlalchemy import text

from core.recipes import resolve
from core.specs import AtlasSpec
from tests.faults import aftermath
from tests.faults.fleet import LEASE_SECONDS, Fleet
from tests.services import Installation, wait_until

pytestmark = pytest.mark.faults

AWAY = r"WARNING.*(the database cannot be reached, again|did not work, trying again soon|left to run out)"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["restarted", "crashed"])
def test_postgresql_starts_anew(fleet: Fleet, how: signal.Signals):
    atlas_id = fleet.begin()
    fleet.postgres.stop(how)
    fleet.wait_said(AWAY)
    fleet.postgres.start()
    aftermath.check(fleet, atlas_id)
    assert len(fleet.alive) == 2


def test_postgresql_is_away_for_longer_than_a_lease(fleet: Fleet):
    atlas_id = fleet.begin()
    fleet.postgres.stop()
    fleet.wait_said(AWAY)
    time.sleep(LEASE_SECONDS + 1)
    fleet.postgres.start()
    aftermath.check(fleet, atlas_id)
    fleet.wait_said(r"heartbeat works again after \d+ s")
    assert len(fleet.alive) == 2


def test_sqlite_is_locked_for_longer_than_a_lease(installation: Installation):
    """By another writer: heartbeats and commits wait their turn or fail, nothing is lost."""
    wish = AtlasSpec(network="demo", recipes=resolve(["bold"], 3))
    with installation.worker(shard_seconds=0.2) as worker:
        installation.wait_described()
        atlas_id = installation.create(wish)
        wait_until(lambda: done(installation, atlas_id) >= 2, 60, "some shards")
        with installation.sessions.begin() as session:
            session.execute(text("SELECT 1"))
            before = done(installation, atlas_id)
            time.sleep(installation.settings.lease_seconds + 1)
            assert done(installation, atlas_id) == before
        aftermath.check_atlas(installation, atlas_id)
        aftermath.check_store(installation)
        assert worker.process.poll() is None
        assert "Traceback" not in worker.log


def done(installation: Installation, atlas_id: str) -> int:
    return sum(shard.state == "done" for shard in installation.shards(atlas_id))
