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
from db import clock, networks, probe_sets, workers
from db.forgetting import forget_deleted
from db.leases import commit_shard, lease_shard
from db.models import Shard
from db.queries.probe_sets import get_set
from db.results import Pictures
from db.session import Sessions
from db.work import Lease
from db.workers import WorkerBeat
from store import PictureStore, open_store
from tests.integration import records
from tests.integration.probe_set_records import added, begun, finished, image, looked_at
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


def filled(sessions: Sessions, store: PictureStore, name: str, data: bytes, root: str | None = None) -> str:
    """A set with one image; in the store, unless it has a root."""
    set_id = begun(sessions, name, root=root)
    added(sessions, set_id, image(data.decode()))
    if root is None:
        store.put(data)
    return set_id


def test_what_probe_sets_and_passes_name_stays_and_is_missed(sessions: Sessions, place: Place) -> None:
    names = ("layer", "search", "part", "view", "sheet")
    blobs = {name: put_old(place, name.encode()) for name in names}
    set_id = filled(sessions, place.store, "set", b"stored")
    filled(sessions, place.store, "there", b"in place", root="/somewhere")
    looked_at(sessions, set_id, units=1, **blobs)
    stored = image("stored").key
    place.set_age(stored, 2 * DAY)
    orphan = put_old(place, b"in place")  # named by a row that does not mean the store

    assert swept(sessions, place.store) == [orphan]
    assert {entry.key for entry in place.store.entries()} == {stored, *blobs.values()}
    assert list(missing(sessions, place.store)) == []
    for key in (stored, *blobs.values()):
        place.store.delete(key)
    lost = {row.what: row.key for row in missing(sessions, place.store)}
    words = ("pass layer", "search", "pass part", "unit view", "sheet of crops")
    assert lost == {"probe image": stored, **dict(zip(words, blobs.values(), strict=True))}


def test_of_a_deleted_set_the_files_go_once_its_rows_are_gone(sessions: Sessions, folder: Place) -> None:
    set_id = filled(sessions, folder.store, "set", b"stored")
    shared = filled(sessions, folder.store, "other", b"shared")
    added(sessions, set_id, image("shared"))
    for name in ("stored", "shared"):
        folder.set_age(image(name).key, 2 * DAY)
    with sessions.begin() as session:
        probe_sets.delete(session, set_id)
    assert swept(sessions, folder.store) == []
    with sessions.begin() as session:
        while forget_deleted(session):
            pass
    assert swept(sessions, folder.store) == [image("stored").key]
    with sessions() as session:
        assert get_set(session, shared).images == 1


def test_young_files_are_not_deleted_while_a_set_is_being_filled(sessions: Sessions, folder: Place) -> None:
    set_id = filled(sessions, folder.store, "set", b"stored")
    settings = load_settings()
    with pytest.raises(Conflict, match="1 probe sets that are being filled"):
        check_grace(sessions, settings, 60)
    check_grace(sessions, settings, least_grace_seconds(settings))
    finished(sessions, set_id)
    check_grace(sessions, settings, 60)


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
