"""The picture stores: one contract for all, and what is the folder's own."""

import errno
import hashlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core.errors import BadSetting, NotFound, StoreUnavailable
from store import FolderStore, MemoryStore, PictureStore, open_store
from store.folder import ABANDONED_SECONDS

DATA = b"a picture"
KEY = hashlib.sha256(DATA).hexdigest()
NO_KEYS = ["", "abc", "../../etc/passwd", KEY.upper(), KEY + "\n", KEY[:-1], "g" * 64, f"{KEY}/..", "٣" * 64, "\0" * 64]


@pytest.fixture(params=["folder", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> PictureStore:
    return open_store((tmp_path / "pictures").as_uri() if request.param == "folder" else "memory://")


@pytest.fixture
def folder(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "pictures")


def test_what_was_put_is_there_under_its_hash(store: PictureStore) -> None:
    assert not store.exists(KEY)
    assert store.put(DATA) == KEY
    assert store.exists(KEY)
    assert store.get(KEY) == DATA
    assert store.put(b"") == hashlib.sha256(b"").hexdigest()


def test_putting_twice_is_putting_once(store: PictureStore) -> None:
    assert store.put(DATA) == store.put(DATA)
    assert [entry.key for entry in store.entries()] == [KEY]


def test_keys_are_all_that_was_put(store: PictureStore) -> None:
    assert list(store.entries()) == []
    put = {store.put(bytes([n])) for n in range(50)}
    assert {entry.key for entry in store.entries()} == put


def test_deleted_is_gone_and_may_be_deleted_again(store: PictureStore) -> None:
    store.put(DATA)
    for _ in range(2):
        store.delete(KEY)
        assert not store.exists(KEY)
    with pytest.raises(NotFound, match=KEY):
        store.get(KEY)
    assert store.put(DATA) == KEY


@pytest.mark.parametrize("text", NO_KEYS)
def test_what_is_no_key_is_not_found(store: PictureStore, text: str) -> None:
    store.put(DATA)
    with pytest.raises(NotFound):
        store.get(text)
    assert not store.exists(text)
    store.delete(text)
    assert [entry.key for entry in store.entries()] == [KEY]


def test_same_data_put_at_once_is_whole(store: PictureStore) -> None:
    data = os.urandom(1_000_000)
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(store.put, [data] * 16))
    assert len(keys) == 1
    assert store.get(keys.pop()) == data


def test_folder_has_two_levels_and_nothing_left_over(folder: FolderStore) -> None:
    folder.put(DATA)
    files = [path for path in folder.root.rglob("*") if path.is_file()]
    assert files == [folder.root / KEY[:2] / KEY[2:4] / KEY]
    assert files[0].stat().st_mode & 0o777 == 0o644


def test_folder_outlives_the_process(folder: FolderStore) -> None:
    folder.put(DATA)
    assert FolderStore(folder.root).get(KEY) == DATA


def test_half_written_files_of_crashes_are_no_pictures_and_go_in_a_day(folder: FolderStore) -> None:
    folder.put(b"other")
    old, new = (folder.root / "partial" / name for name in ("old", "new"))
    for path in (old, new):
        path.write_bytes(DATA[:3])
    yesterday = time.time() - ABANDONED_SECONDS - 1
    os.utime(old, (yesterday, yesterday))
    assert {entry.key for entry in folder.entries()} == {hashlib.sha256(b"other").hexdigest()}
    FolderStore(folder.root).put(DATA)
    assert folder.get(KEY) == DATA
    assert not old.exists()
    assert new.exists()  # somebody may be writing it


def test_what_is_too_large_is_not_read(store: PictureStore) -> None:
    store.put(DATA)
    assert store.get(KEY, most_bytes=len(DATA)) == DATA
    with pytest.raises(NotFound):
        store.get(KEY, most_bytes=len(DATA) - 1)


def test_full_disk_is_said_and_leaves_nothing(folder: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreUnavailable, match="No space left"):
        folder.put(DATA)
    assert [path for path in folder.root.rglob("*") if path.is_file()] == []
    assert not folder.exists(KEY)


def test_place_that_is_no_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match="cannot be written to"):
        FolderStore(tmp_path / "file").put(DATA)
    with pytest.raises(StoreUnavailable, match="cannot be read"):
        FolderStore(tmp_path / "file").get(KEY)


@pytest.mark.parametrize("url", ["", "pictures", "s3://bucket/prefix", "http://host/x", "file://host/x", "file:"])
def test_url_of_no_store_is_refused(url: str) -> None:
    with pytest.raises(BadSetting, match="file:///some/folder"):
        open_store(url)


def test_urls_give_their_stores(tmp_path: Path) -> None:
    place = tmp_path / "with space"
    store = open_store(place.as_uri())
    assert isinstance(store, FolderStore)
    assert store.root == place
    assert isinstance(open_store("memory://"), MemoryStore)
