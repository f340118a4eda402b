"""What a worker decides without a database: when to give a shard back, what shares a sheet, which weights fit."""

import multiprocessing
import time
from pathlib import Path

import numpy as np
import pytest

from core.errors import BadCheckpoint, BadNetwork, BadSetting, Cancelled, LostLease
from core.recipes import BOLD
from core.settings import load_settings
from core.specs import SHEET_TILES, LayerInfo, NetworkSource, Window
from db.work import Lease, PreferredLease
from deepvis.networks import import_checkpoint
from deepvis.preferred import PreferredPicture
from store import MemoryStore
from workers.device import choose_device, choose_threads
from workers.held import HeldLeases
from workers.networks import ENGINES_KEPT, Networks
from workers.pictures import sheet_groups
from workers.stopping import StopFlag

DEMO = NetworkSource(name="demo", kind="bundled", builder="demo")


def lease(token: str = "a" * 32) -> Lease:
    layer = LayerInfo(
        name="conv1",
        kind="conv",
        order=0,
        units=4,
        output_shape=(4, 2, 2),
        unit_axis=0,
        read_at="conv1",
        window=Window(top=0, left=0, height=4, width=4, position=(0, 0), full=True),
    )
    return PreferredLease(
        shard_id=1,
        atlas_id="01",
        token=token,
        worker_id="host:1:ab",
        attempt=1,
        network=DEMO,
        network_weights_hash="0" * 64,
        layer=layer,
        layer_id=1,
        recipe=BOLD,
        recipe_hash=BOLD.content_hash(),
        addresses=((0, 0),),
    )


def picture(unit: int, seed: int, *, dead: bool = False) -> PreferredPicture:
    pixels = None if dead else np.zeros((4, 4, 3), np.uint8)
    return PreferredPicture(unit, seed, "dead" if dead else "ok", pixels, 4, 4, None, None, None, 0.0)


# --- giving back -----------------------------------------------------------------


def test_a_shard_goes_on_until_its_lease_is_lost():
    leases = HeldLeases(StopFlag())
    mine, other = leases.add(lease()), leases.add(lease("b" * 32))
    mine.progress(0.5)
    assert leases.fractions() == {"a" * 32: 0.5, "b" * 32: 0.0}

    leases.keep({"a" * 32, "b" * 32}, {"b" * 32})

    other.progress(0.1)
    with pytest.raises(LostLease, match="cancelled or leased to another worker"):
        mine.progress(0.6)


def test_a_lease_taken_while_others_are_renewed_is_not_lost():
    leases = HeldLeases(StopFlag())
    asked = set(leases.fractions())
    new = leases.add(lease())

    leases.keep(asked, set())

    new.progress(0.5)


def test_a_lease_that_ended_with_its_commit_is_not_called_lost(caplog):
    leases = HeldLeases(StopFlag())
    held = leases.add(lease())
    held.end_computing()
    with caplog.at_level("INFO"):
        leases.keep(set(leases.fractions()), set())

    assert not held.lost
    assert not caplog.records


def test_leases_outlive_heartbeats():
    load_settings(lease_seconds=10, heartbeat_seconds=5)
    with pytest.raises(BadSetting, match=r"DEEPVIS_HEARTBEAT_SECONDS: .*at most half of DEEPVIS_LEASE_SECONDS \(8\)"):
        load_settings(lease_seconds=8)


def test_a_worker_is_alive_for_three_heartbeats_and_a_little():
    assert load_settings().alive_seconds == 35
    assert load_settings(heartbeat_seconds=30).alive_seconds == 95


@pytest.mark.parametrize(("fraction", "goes_on"), [(0.0, False), (0.01, False), (0.99, True), (1.0, True)])
def test_a_stopping_worker_finishes_what_is_nearly_done(fraction, goes_on):
    stop = StopFlag()
    held = HeldLeases(stop).add(lease())
    time.sleep(0.05)
    stop.set(time.monotonic() + 1.0)

    if goes_on:
        held.progress(fraction)
    else:
        with pytest.raises(Cancelled, match="stopping"):
            held.progress(fraction)


def test_computing_and_the_commit_can_stall():
    held = HeldLeases(StopFlag()).add(lease())
    time.sleep(0.02)

    assert held.stalled(0.01)
    held.progress(0.1)
    assert not held.stalled(10)
    time.sleep(0.02)
    held.end_computing()
    assert not held.stalled(0.01)
    time.sleep(0.02)
    assert held.stalled(0.01)
    held.note_progress()
    assert not held.stalled(0.01)


def test_a_forked_child_sees_the_deadline():
    stop = StopFlag()
    context = multiprocessing.get_context("fork")
    told, answer = context.Event(), context.Queue()
    child = context.Process(target=lambda: (answer.put(stop.deadline), told.wait(10), answer.put(stop.deadline)))
    child.start()
    try:
        assert answer.get(timeout=10) is None
        stop.set(1234.5)
        told.set()
        assert answer.get(timeout=10) == 1234.5
    finally:
        child.join(10)


# --- sheets ----------------------------------------------------------------------


def test_a_sheet_holds_one_seed_by_unit_and_leaves_out_what_has_no_picture():
    pictures = [picture(2, 0), picture(2, 1), picture(1, 0), picture(0, 0, dead=True), picture(1, 1)]

    assert list(sheet_groups(pictures)) == [[2, 0], [4, 1]]


def test_many_units_make_several_full_sheets():
    groups = list(sheet_groups([picture(unit, 0) for unit in range(2 * SHEET_TILES + 3)]))

    assert [len(group) for group in groups] == [SHEET_TILES, SHEET_TILES, 3]


# --- device and networks -----------------------------------------------------------


def test_threads_are_those_set_else_the_cores_there_are():
    assert choose_threads(load_settings(threads=3)) == 3
    assert choose_threads(load_settings()) >= 1


def test_cuda_where_there_is_none():
    import torch

    if torch.cuda.is_available():
        assert choose_device(load_settings(device="cuda")) == "cuda"
    else:
        assert choose_device(load_settings()) == "cpu"
        with pytest.raises(BadSetting, match="no CUDA device"):
            choose_device(load_settings(device="cuda"))


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def networks(tmp_path: Path, store: MemoryStore) -> Networks:
    return Networks(load_settings(home=tmp_path, precision="float32", threads=1, device="cpu"), store)


def test_a_network_is_loaded_once_and_the_oldest_is_forgotten(networks: Networks):
    first = networks.engine(DEMO)

    assert networks.engine(DEMO) is first
    for number in range(ENGINES_KEPT):
        networks.engine(DEMO.model_copy(update={"name": f"other{number}"}))
    assert networks.engine(DEMO) is not first


def test_other_weights_than_described_are_refused(networks: Networks):
    found = networks.engine(DEMO).network.weights_hash

    networks.engine(DEMO, found)
    with pytest.raises(BadNetwork, match=f"expected ffffffffffff, got {found[:12]}"):
        networks.engine(DEMO, "f" * 64)


def test_a_checkpoint_is_fetched_once_verified_and_mended(networks: Networks, store: MemoryStore, tmp_path: Path):
    from safetensors.torch import save_file

    demo = networks.engine(DEMO).network
    save_file({name: tensor.clone() for name, tensor in demo.module.state_dict().items()}, tmp_path / "w.safetensors")
    data, key = import_checkpoint("demo", tmp_path / "w.safetensors", max_bytes=10**8)
    store.put(data)
    source = DEMO.model_copy(update={"name": "copy", "checkpoint": key})

    assert networks.engine(source).network.weights_hash == demo.weights_hash
    local = tmp_path / "checkpoints" / key
    local.write_bytes(b"damaged")
    networks.clear()
    networks.engine(source)
    assert local.read_bytes() == data


class RottenStore(MemoryStore):
    def get(self, key: str) -> bytes:
        return super().get(key)[:-1]


def test_a_damaged_checkpoint_in_the_store_is_refused(tmp_path: Path):
    store = RottenStore()
    networks = Networks(load_settings(home=tmp_path, device="cpu"), store)

    with pytest.raises(BadCheckpoint, match="damaged"):
        networks.engine(DEMO.model_copy(update={"checkpoint": store.put(b"weights")}))
    assert not (tmp_path / "checkpoints").exists()
