"""The store held against the rows, on both databases and every kind of store, also while workers put and commit."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import update

from cli.main import main
from core.errors import Conflict, LostLease
from core.settings import load_settings
from core.specs import DeviceKind, NetworkSource
from db import clock, networks, workers
from db.leases import commit_shard, lease_shard
from db.models import Shard
from db.results import Pictures
from db.session import Sessions
from db.work import Lease
from db.workers import WorkerBeat
from store import PictureStore, open_store
from tests.integration import records
from tests.integration.racing import race
from tests.integration.stores import KINDS, Place
from tests.s3 import BUCKET, S3
from workers import sweep as sweeping
from workers.sweep import check_grace, least_grace_seconds, missing, sweep

pytestmark = pytest.mark.integration

HOUR = 3600.0
DAY = 24 * HOUR


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "s3":
        server: S3 = request.getfixturevalue("s3")
        return Place(open_store(server.url_of(BUCKET, f"sweep/{uuid.uuid4().hex}")), server)
    return Place(open_store((tmp_path / "pictures").as_uri() if request.param == "folder" else "memory://"))


@pytest.fixture
def folder(tmp_path: Path) -> Place:
    return Place(open_store((tmp_path / "pictures").as_uri()))


def put_old(place: Place, data: bytes, seconds: float = 2 * DAY) -> str:
    key = place.store.put(data)
    place.set_age(key, seconds)
    return key


def swept(sessions: Sessions, store: PictureStore, *, delete: bool = True) -> list[str]:
    """The keys that a sweep finds (and deletes)."""
    found = list(sweep(sessions, store, DAY, delete=delete))
    assert all(gone == delete for _, gone in found)
    return sorted(entry.key for entry, _ in found)


def begin(sessions: Sessions, units: int = 6) -> Lease:
    """A leased shard of one layer's units."""
    with sessions.begin() as session:
        records.describe(session)
    with sessions.begin() as session:
        atlas_id = records.running_atlas(session, records.shards("conv", [tuple(range(units))]))
    with sessions.begin() as session:
        lease = lease_shard(session, session.query(Shard.id).filter_by(atlas_id=atlas_id).scalar(), "w", 600)
    assert lease is not None
    return lease


def commit(sessions: Sessions, lease: Lease, blob: str, sheet: str) -> None:
    with sessions.begin() as session:
        rows = [records.picture(unit, blob=blob, sheet=sheet) for unit, _ in lease.addresses]
        commit_shard(session, lease, Pictures(rows))


def test_what_rows_name_stays_and_what_is_old_and_nobodys_goes(sessions: Sessions, place: Place) -> None:
    blob, sheet, weights = (put_old(place, data) for data in (b"blob", b"sheet", b"weights"))
    commit(sessions, begin(sessions), blob, sheet)
    with sessions.begin() as session:
        networks.register(session, NetworkSource(name="x", kind="torchvision", builder="alexnet", checkpoint=weights))
    orphans = sorted(put_old(place, bytes([n])) for n in range(20))
    young = place.store.put(b"of an attempt that goes on")

    assert swept(sessions, place.store, delete=False) == orphans
    assert swept(sessions, place.store) == orphans
    assert swept(sessions, place.store) == []
    assert {entry.key for entry in place.store.entries()} == {blob, sheet, weights, young}
    assert list(missing(sessions, place.store)) == []


def test_rows_whose_file_is_missing_are_found(sessions: Sessions, place: Place) -> None:
    blob, sheet, weights = (place.store.put(data) for data in (b"blob", b"sheet", b"weights"))
    commit(sessions, begin(sessions, 1), blob, sheet)
    with sessions.begin() as session:
        networks.register(session, NetworkSource(name="x", kind="torchvision", builder="alexnet", checkpoint=weights))
    assert list(missing(sessions, place.store)) == []
    for key in (blob, sheet, weights):
        place.store.delete(key)
    found = {(row.what, row.row, row.key) for row in missing(sessions, place.store)}
    assert found == {("picture", "1", blob), ("sheet", "1", sheet), ("weights", "x", weights)}


def test_an_old_orphan_that_is_put_again_is_spared_before_and_after_its_commit(
    sessions: Sessions, place: Place
) -> None:
    lease = begin(sessions)
    blob, sheet = put_old(place, b"blob"), put_old(place, b"sheet")
    place.store.put(b"blob"), place.store.put(b"sheet")
    assert swept(sessions, place.store) == []
    commit(sessions, lease, blob, sheet)
    place.set_age(blob, 2 * DAY)
    assert swept(sessions, place.store) == []


def test_put_again_after_the_sweep_looked_and_before_it_deletes(
    sessions: Sessions, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = put_old(place, b"blob")
    look = sweeping._unnamed
    monkeypatch.setattr(sweeping, "_unnamed", lambda *given: (place.store.put(b"blob"), look(*given))[1])
    assert [(entry.key, gone) for entry, gone in sweep(sessions, place.store, DAY, delete=True)] == [(key, False)]
    assert place.store.get(key) == b"blob"


def test_committed_after_the_sweep_read_the_rows_and_before_it_deletes(
    sessions: Sessions, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even of bytes that are old, which a worker within its time limits cannot do."""
    lease = begin(sessions)
    blob, sheet = put_old(place, b"blob"), put_old(place, b"sheet")
    batches = sweeping._batches
    done: list[None] = []

    def commit_first(items: object) -> Iterator[object]:
        for batch in batches(items):  # type: ignore[arg-type]  # passed on as it came
            done or done.append(commit(sessions, lease, blob, sheet))
            yield batch

    monkeypatch.setattr(sweeping, "_batches", commit_first)
    assert swept(sessions, place.store) == []
    assert done
    assert {entry.key for entry in place.store.entries()} == {blob, sheet}


def test_workers_put_and_commit_what_two_sweeps_are_after(sessions: Sessions, folder: Place) -> None:
    """Old orphans of an earlier attempt become pictures while they are being swept: none may be missing afterwards."""
    lease = begin(sessions, 30)
    for unit in range(30):
        put_old(folder, bytes([unit]))

    def work() -> list[str]:
        blobs = [folder.store.put(bytes([unit])) for unit in range(30)]
        rows = [records.picture(unit, blob=blob, sheet=blob) for unit, blob in enumerate(blobs)]
        with sessions.begin() as session:
            commit_shard(session, lease, Pictures(rows))
        return blobs

    def clean() -> list[str]:
        return [entry.key for entry, gone in sweep(sessions, folder.store, DAY, delete=True) if gone]

    blobs, *_ = race([work, clean, clean])
    assert list(missing(sessions, folder.store)) == []
    assert all(folder.store.exists(blob) for blob in blobs)


def test_many_rows_are_streamed(sessions: Sessions, folder: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "BATCH", 7)
    keys = sorted(put_old(folder, bytes([n])) for n in range(60))
    lease = begin(sessions, 30)
    with sessions.begin() as session:
        commit_shard(session, lease, Pictures([records.picture(n, blob=keys[n], sheet=None) for n in range(30)]))
    assert swept(sessions, folder.store) == keys[30:]


def test_a_short_grace_is_for_times_without_workers(sessions: Sessions) -> None:
    settings = load_settings()
    check_grace(sessions, settings, 0)
    with sessions.begin() as session:
        workers.beat(
            session,
            WorkerBeat(id="w", host="h", pid=1, device="cpu", device_kind=DeviceKind.CPU, queues="q", versions={}),
        )
    check_grace(sessions, settings, DAY)
    with pytest.raises(Conflict, match="stop them first"):
        check_grace(sessions, settings, least_grace_seconds(settings) - 1)


def test_a_silent_worker_s_lease_is_ended_before_what_it_stored_is_deleted(sessions: Sessions, folder: Place) -> None:
    """It was frozen for long, nobody reaped; it wakes up after the sweep."""
    settings = load_settings()
    lease = begin(sessions)
    key = put_old(folder, b"fresh", 120)
    with pytest.raises(Conflict, match=r"1 leases of workers that do not answer .*wait until"):
        check_grace(sessions, settings, 60)

    with sessions.begin() as session:
        session.execute(update(Shard).values(lease_expires_at=clock.after(clock.now(session), -1)))
    check_grace(sessions, settings, 60)
    assert [entry.key for entry, gone in sweep(sessions, folder.store, 60, delete=True) if gone] == [key]

    with pytest.raises(LostLease):
        commit(sessions, lease, key, key)
    assert list(missing(sessions, folder.store)) == []


# --- the commands -------------------------------------------------------------------


@pytest.fixture
def home(sessions: Sessions, database_url: str, folder: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DEEPVIS_HOME", str(tmp_path))
    monkeypatch.setenv("DEEPVIS_DATABASE_URL", database_url)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["store", *arguments], prog_name="deepvis")


@pytest.mark.usefixtures("home")
def test_sweeping_by_hand(folder: Place) -> None:
    key = put_old(folder, b"orphan")
    listed = run("sweep")
    assert (listed.exit_code, listed.stdout.split()[0]) == (0, key)
    assert "1 without a row, 0 of them deleted" in listed.stderr
    assert run("sweep", "--older-than", "3d").stdout == ""
    said = json.loads(run("sweep", "--delete", "--json").stdout)
    assert (said["key"], said["deleted"]) == (key, True)
    assert not folder.store.exists(key)
    assert run("sweep", "--older-than", "soon").exit_code == 2


@pytest.mark.usefixtures("home")
def test_checking_by_hand(sessions: Sessions, folder: Place) -> None:
    blob, sheet = folder.store.put(b"blob"), folder.store.put(b"sheet")
    commit(sessions, begin(sessions, 1), blob, sheet)
    assert run("check").exit_code == 0
    folder.store.delete(blob)
    found = run("check")
    assert (found.exit_code, found.stdout.split()) == (1, [blob, "picture", "1"])
    assert json.loads(run("check", "--json").stdout) == {"key": blob, "what": "picture", "row": "1"}
