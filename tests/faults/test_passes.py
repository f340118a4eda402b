"""A pass over a probe set goes on through what befalls its workers, and finds the same."""

import pytest

from db.models import AtlasState
from tests.faults.fleet import Fleet
from tests.integration import passes

pytestmark = pytest.mark.faults

IMAGES = 250


def begin(fleet: Fleet) -> str:
    """The id of a new pass over a set of its own, so that nothing of it was made before."""
    set_id = passes.add_set(fleet.installation, f"set-{len(fleet.all_shards())}", IMAGES)
    return fleet.installation.create(passes.wish(set_id))


def check(fleet: Fleet, atlas_id: str) -> None:
    atlas = fleet.installation.wait_state(atlas_id, "complete", "complete_with_failures", "failed", seconds=120)
    assert (atlas.state, atlas.error) == (AtlasState.COMPLETE, None)
    passes.check_pass(fleet.installation, atlas_id, IMAGES)
    views = passes.views(fleet.installation, atlas_id)
    assert len(views) == 2 * 2 * 2 * 4
    assert all(fleet.installation.store.exists(view.blob or "") for view in views)


# To put the answers together takes too little time to be caught at: see tests/integration/test_db_stages.py.
@pytest.mark.parametrize("kind", ["probe", "backward"])
def test_a_worker_is_killed_at_each_stage(fleet: Fleet, kind: str):
    atlas_id = begin(fleet)
    victim, shard = fleet.catch(kind=kind)
    victim.kill()

    check(fleet, atlas_id)
    [again] = [each for each in fleet.all_shards() if each.id == shard.id]
    assert again.attempts == 2
