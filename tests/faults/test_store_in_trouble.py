"""The picture store is full, or read-only, in the middle of an atlas: the work waits, says why, and goes on after."""

from collections.abc import Callable
from pathlib import Path

import pytest

from db.models import ShardState
from tests.faults import aftermath
from tests.faults.disk import make_full, make_read_only, mend
from tests.faults.fleet import Fleet
from tests.services import wait_until

pytestmark = pytest.mark.faults


@pytest.fixture
def disk(fleet: Fleet) -> Path:
    """Where the store's small disk is mounted."""
    place = Path(fleet.installation.store.root)
    if not place.is_mount():
        pytest.skip("only root can make a small disk")  # in CI too: test_store_outages has a limit for everybody
    return place


@pytest.mark.parametrize(
    ("trouble", "reason"), [(make_full, "No space left on device"), (make_read_only, "Read-only file system")]
)
def test_the_store_takes_nothing_for_a_while(fleet: Fleet, disk: Path, trouble: Callable[[Path], None], reason: str):
    atlas_id = fleet.begin()
    trouble(disk)
    try:
        wait_until(lambda: set_back(fleet, atlas_id, reason) >= 2, 60, "shards that were set back")
        fleet.wait_said(rf"WARNING shard \d+ .* set back: The picture store .* {reason}")
    finally:
        mend(disk)

    aftermath.check(fleet, atlas_id)
    shards = fleet.installation.shards(atlas_id)
    assert sum(shard.setbacks for shard in shards) >= 2
    assert {(shard.attempts, shard.error) for shard in shards} == {(1, None)}


def set_back(fleet: Fleet, atlas_id: str, reason: str) -> int:
    """How many shards wait for the store, each with the reason on its row and no attempt counted."""
    shards = [s for s in fleet.installation.shards(atlas_id) if s.state == ShardState.PENDING and s.setbacks]
    for shard in shards:
        assert reason in shard.error
        assert shard.attempts == 0
        assert shard.retry_at is not None
    return len(shards)
