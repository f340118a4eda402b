"""A commit that hangs, and a store that is full."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select

from core.errors import StoreUnavailable
from core.settings import load_settings
from core.specs import DeviceKind
from db.migrate import upgrade
from db.models import Picture, Shard, ShardState
from db.work import Lease
from deepvis.pictures import read_picture
from deepvis.preferred import PreferredPicture
from store import MemoryStore
from tests.integration.records import describe, running_atlas, shards
from tests.services import wait_until
from workers.committer import Committer
from workers.held import HeldLeases
from workers.ledger import Ledger
from workers.metrics import WorkerMetrics
from workers.pictures import PictureParcel
from workers.stages import StageTimes
from workers.stopping import StopFlag

pytestmark = pytest.mark.integration


class HangingStore(MemoryStore):
    """Takes nothing until it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = threading.Event()
        self.free = threading.Event()

    def put(self, data: bytes) -> str:
        self.asked.set()
        assert self.free.wait(30)
        return super().put(data)


class FullStore(MemoryStore):
    """Has room for a few bytes still."""

    def put(self, data: bytes) -> str:
        if len(data) > 4096:
            raise StoreUnavailable("The disk is full.", "Free some space.")
        return super().put(data)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    settings = load_settings(home=tmp_path)
    upgrade(settings.resolved_database_url)
    made = Ledger(settings, "w", DeviceKind.CPU)
    with made.sessions.begin() as session:
        describe(session)
        running_atlas(session)
    yield made
    made.close()


@pytest.fixture
def held() -> HeldLeases:
    return HeldLeases(StopFlag())


def parcel(ledger: Ledger, held: HeldLeases, shard_id: int) -> PictureParcel:
    lease = ledger.lease(shard_id)
    assert lease is not None
    return PictureParcel(held.add(lease), StageTimes(), device="cpu", precision="float32", library_version="1")


def fill(committer: Committer, parcel: PictureParcel) -> None:
    for unit, seed in parcel.lease.addresses:
        pixels = np.zeros((4, 4, 3), np.uint8)
        parcel.add(committer, PreferredPicture(unit, seed, "ok", pixels, 4, 4, 1.0, 1, 1, 0.1))
    parcel.held.end_computing()


def state(ledger: Ledger, lease: Lease) -> str:
    with ledger.sessions() as session:
        return session.get_one(Shard, lease.shard_id).state


def test_a_commit_that_hangs_stalls_and_the_shard_behind_it_does_not(
    ledger: Ledger, held: HeldLeases, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("workers.committer.WAIT_SECONDS", 0.01)
    store = HangingStore()
    committer = Committer(ledger, store, held, WorkerMetrics(), lambda: None)
    first, second = parcel(ledger, held, 1), parcel(ledger, held, 2)
    for each in (first, second):
        fill(committer, each)
    committer.finish(first)
    behind = threading.Thread(target=committer.finish, args=(second,))
    behind.start()
    assert store.asked.wait(30)

    wait_until(lambda: first.held.stalled(0.5), what="a stalled commit")
    assert not second.held.stalled(0.4)

    store.free.set()
    behind.join()
    committer.close()
    assert [state(ledger, each.lease) for each in (first, second)] == [ShardState.DONE] * 2
    assert held.all() == []


def test_every_picture_is_in_the_store_under_the_name_that_its_row_has(
    ledger: Ledger, held: HeldLeases, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("workers.pictures.GROUP", 2)
    store = MemoryStore()
    committer = Committer(ledger, store, held, WorkerMetrics(), lambda: None)
    with ledger.sessions.begin() as session:
        running_atlas(session, shards("conv", [(0, 1, 2)]))
    whole = parcel(ledger, held, 4)
    assert len(whole.lease.addresses) == 3  # one is left over
    drawn = {address: np.full((4, 4, 3), 10 * n, np.uint8) for n, address in enumerate(whole.lease.addresses)}
    dead = whole.lease.addresses[1]
    for unit, seed in whole.lease.addresses:
        is_dead = (unit, seed) == dead
        pixels, state_ = (None, "dead") if is_dead else (drawn[unit, seed], "ok")
        whole.add(committer, PreferredPicture(unit, seed, state_, pixels, 4, 4, None, None, None, 0.1))
    committer.finish(whole)
    committer.close()

    with ledger.sessions() as session:
        rows = session.scalars(select(Picture)).all()
    assert {(row.unit, row.seed) for row in rows} == set(drawn)
    for row in rows:
        if (row.unit, row.seed) == dead:
            assert row.blob is row.sheet is None
        else:
            assert row.blob and row.sheet and store.exists(row.sheet)
            np.testing.assert_array_equal(read_picture(store.get(row.blob), max_pixels=100), drawn[row.unit, row.seed])


def test_a_store_that_takes_a_few_bytes_only_is_still_full(ledger: Ledger, held: HeldLeases):
    committer = Committer(ledger, FullStore(), held, WorkerMetrics(), lambda: None)
    full = parcel(ledger, held, 1)
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)
    for unit, seed in full.lease.addresses:
        full.add(committer, PreferredPicture(unit, seed, "ok", noise, 200, 200, 1.0, 1, 1, 0.1))
    committer.finish(full)
    committer.close()
    assert state(ledger, full.lease) == ShardState.PENDING

    with pytest.raises(StoreUnavailable):
        committer.check_store()
