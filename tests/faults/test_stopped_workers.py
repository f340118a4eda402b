"""Workers that are stopped, hung or poisoned: the atlas is completed all the same, every picture once."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from core.recipes import resolve
from core.specs import AtlasSpec
from db.models import Shard
from tests.faults.networks import TROUBLE
from tests.integration.test_workers import LONG, WISH, missing_or_double
from tests.services import Installation, wait_until

pytestmark = pytest.mark.faults

# One shard of some seconds, so that it is surely still running when something happens to its worker.
SHARD = AtlasSpec(network="demo", layers=("classes",), units=(0, 1), recipes=resolve(["bold"], 300))


def begin(installation: Installation, wish: AtlasSpec) -> str:
    """Wish for an atlas and wait until its only shard has begun to compute."""
    installation.wait_described()
    atlas_id = installation.create(wish)
    wait_until(lambda: any(shard.fraction > 0 for shard in installation.shards(atlas_id)), what="a running shard")
    return atlas_id


def only_shard(installation: Installation, atlas_id: str) -> Shard:
    [shard] = installation.shards(atlas_id)
    return shard


def test_stopping_gives_back_a_long_shard_at_once(installation: Installation):
    with installation.worker(stop_seconds=60) as worker:
        worker.wait_ready()
        atlas_id = begin(installation, LONG)
        start = time.monotonic()
        worker.terminate()

        assert worker.wait(30) == 0
        assert time.monotonic() - start < 20  # it did not use the time it could not use
        shard = only_shard(installation, atlas_id)
        assert (shard.state, shard.attempts) == ("pending", 0)  # with a message already, or without one
        assert "given back: The worker is stopping" in worker.log


def test_stopping_finishes_a_short_shard_and_commits_it(installation: Installation):
    with installation.worker(stop_seconds=60, shard_seconds=60) as worker:
        worker.wait_ready()
        atlas_id = begin(installation, SHARD)
        worker.terminate()

        assert worker.wait(60) == 0
        assert installation.atlas(atlas_id).state == "complete"
        assert missing_or_double(installation, SHARD) == {}


def test_ctrl_c_to_the_whole_group_stops_in_order(installation: Installation):
    with installation.worker(stop_seconds=1) as worker:
        worker.wait_ready()
        atlas_id = begin(installation, LONG)
        for pid in (worker.children()[-1], worker.process.pid):  # a terminal signals every process
            os.kill(pid, signal.SIGINT)

        worker.wait(30)
        assert only_shard(installation, atlas_id).state == "pending"


@pytest.fixture
def troubled(installation: Installation, tmp_path) -> Iterator[Installation]:
    """An installation with networks that cause trouble once the file `trouble` is in its home."""
    networks_file = tmp_path / "networks.toml"
    networks_file.write_text(
        "".join(f'[networks.{n}]\nfactory = "tests.faults.networks:{n}"\n' for n in ("deadly", "hanging", "sluggish"))
    )
    installation.env |= {"DEEPVIS_NETWORKS_FILE": str(networks_file), TROUBLE: str(tmp_path / "trouble")}
    yield installation


def make_trouble(installation: Installation, network: str) -> str:
    """An atlas of the network, planned while it behaved, with its trouble from then on."""
    installation.wait_described(network)
    wish = AtlasSpec(network=network, layers=("conv",), recipes=resolve(["bold"], 3000))
    atlas_id = begin(installation, wish)
    Path(installation.env[TROUBLE]).touch()
    return atlas_id


def test_a_shard_that_kills_its_workers_is_failed_in_the_end(troubled: Installation):
    with troubled.worker(shard_seconds=60, lease_seconds=2, max_attempts=2) as worker:
        atlas_id = make_trouble(troubled, "deadly")

        troubled.wait_state(atlas_id, "complete_with_failures")
        shard = only_shard(troubled, atlas_id)
        assert (shard.attempts, shard.error) == (2, "the worker stopped answering")
        troubled.wait_state(troubled.create(WISH), "complete")
        assert worker.process.poll() is None


def test_a_hanging_shard_is_taken_from_its_worker(troubled: Installation):
    with troubled.worker(shard_seconds=60, stall_seconds=2, max_attempts=1) as worker:
        atlas_id = make_trouble(troubled, "hanging")

        troubled.wait_state(atlas_id, "complete_with_failures")
        assert only_shard(troubled, atlas_id).error == "It showed no progress for 2 s."
        troubled.wait_state(troubled.create(WISH), "complete")
        assert worker.process.poll() is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_stuck_child_ends_with_its_parent(troubled: Installation, number: signal.Signals):
    with troubled.worker(shard_seconds=60, stop_seconds=1, module="tests.faults.hasty") as worker:
        atlas_id = make_trouble(troubled, "hanging")
        time.sleep(1)  # it is in the middle of its sleep
        child = psutil.Process(worker.children()[-1])
        os.kill(worker.process.pid, number)

        assert worker.wait(30) == (1 if number == signal.SIGTERM else -number)
        wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, 5, "no child")
        assert only_shard(troubled, atlas_id).state == "running"  # nobody gave it back: it was stuck


def test_a_planner_keeps_its_atlas_and_leaves_it_when_stopped(troubled: Installation):
    with troubled.worker(lease_seconds=2) as worker:
        troubled.wait_described("sluggish")
        Path(troubled.env[TROUBLE]).touch()
        atlas_id = troubled.create(AtlasSpec(network="sluggish", recipes=resolve(["bold"], 2)))
        planning = troubled.wait_state(atlas_id, "planning")
        wait_until(lambda: troubled.atlas(atlas_id).plan_expires_at > planning.plan_expires_at, what="a renewed lease")
        worker.terminate()

        assert worker.wait(30) == 0
        left = troubled.atlas(atlas_id)
        assert (left.state, left.plan_attempts, left.plan_expires_at) == ("queued", 0, None)
