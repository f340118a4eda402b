"""What is the folder store's own, and which store a URL names; the contract of all: integration/test_stores.py."""

import errno
import hashlib
import os
import stat
import time
from collections import Counter
from itertools import groupby
from pathlib import Path

import pytest

from core.errors import BadSetting, StoreUnavailable
from store import FolderStore, MemoryStore, open_store
from store import folder as folder_module
from store.base import REFRESH_SECONDS
from store.folder import ABANDONED_SECONDS
from store.s3 import Bucket, S3Store
from tests.integration.stores import Place, ago

DATA = b"a picture"
KEY = hashlib.sha256(DATA).hexdigest()
DAY = 24 * 3600


@pytest.fixture
def folder(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "pictures")


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


def test_a_put_between_a_deletions_look_and_its_act_wins(folder: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.put(DATA)
    Place(folder).set_age(KEY, 2 * DAY)
    look = folder_module._written_at

    def look_and_put(path: Path) -> object:
        seen = look(path)
        folder.put(DATA)
        return seen

    monkeypatch.setattr(folder_module, "_written_at", look_and_put)
    assert not folder.delete(KEY, unless_since=ago(DAY))
    assert folder.get(KEY) == DATA
    assert list((folder.root / "partial").iterdir()) == []


def test_a_deletion_between_a_puts_look_and_its_act_loses_nothing(
    folder: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.put(DATA)
    Place(folder).set_age(KEY, 2 * DAY)
    touch = os.utime

    def delete_and_touch(path: Path) -> None:
        assert folder.delete(KEY, unless_since=ago(DAY))
        touch(path)

    monkeypatch.setattr(os, "utime", delete_and_touch)
    folder.put(DATA)
    assert folder.get(KEY) == DATA


def test_what_belongs_to_another_user_is_made_young_by_writing_it_anew(
    folder: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.put(DATA)
    Place(folder).set_age(KEY, 2 * REFRESH_SECONDS)

    def not_ours(_path: Path) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "utime", not_ours)
    folder.put(DATA)
    assert Place(folder).age(KEY) < 60


def test_failing_disk_is_said_and_leaves_nothing(folder: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StoreUnavailable, match="Input/output error"):
        folder.put(DATA)
    assert [path for path in folder.root.rglob("*") if path.is_file()] == []
    assert not folder.exists(KEY)


def test_names_are_given_when_all_bytes_are_on_the_disk_and_are_there_themselves_at_the_end(
    folder: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    sync, rename = os.fsync, Path.replace

    def note_sync(descriptor: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "bytes")
        sync(descriptor)

    def note_rename(path: Path, target: Path) -> Path:
        done.append("name")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(Path, "replace", note_rename)
    folder.put(b"1")
    assert [step for step, _ in groupby(done)] == ["bytes", "name", "folder"]
    done.clear()
    folder.put_all([b"1", b"2", b"3", b"3"])
    assert Counter(done)["bytes"] == 2
    assert Counter(done)["folder"] == 3  # that of what was there too: whoever wrote it may not have come so far
    assert [step for step, _ in groupby(done, lambda step: step.replace("name", "bytes"))] == ["bytes", "folder"]
    assert done.index("name") == 2


def test_place_that_is_no_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = FolderStore(tmp_path / "file")
    with pytest.raises(StoreUnavailable, match="cannot be written to"):
        store.put(DATA)
    with pytest.raises(StoreUnavailable, match="cannot be read"):
        store.get(KEY)
    with pytest.raises(StoreUnavailable, match="cannot be read"):
        list(store.entries())


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        *((url, "file:///some/folder or s3://bucket/prefix") for url in ("", "pictures", "http://host/x", "file:")),
        ("file://host/x", "no picture store"),
        ("s3:///prefix", "names no bucket"),
        ("s3://key:secret@bucket/prefix", "credentials"),
        ("s3://bucket?endpoint=ftp://host", "no endpoint"),
        ("s3://bucket?endpoint=http://key:secret@host", "no endpoint"),
        ("s3://bucket?secret=abc", "unknown option 'secret'"),
        ("s3://bucket?path_style=1", "true or false"),
        ("s3://[bucket", "no URL"),
    ],
)
def test_url_of_no_store_is_refused(url: str, reason: str) -> None:
    with pytest.raises(BadSetting, match=reason) as raised:
        open_store(url)
    assert "key:secret" not in str(raised.value)


def test_urls_give_their_stores(tmp_path: Path) -> None:
    place = tmp_path / "with space"
    store = open_store(place.as_uri())
    assert isinstance(store, FolderStore)
    assert store.root == place
    assert isinstance(open_store("memory://"), MemoryStore)


@pytest.mark.parametrize(
    ("url", "bucket"),
    [
        ("s3://pictures", Bucket("pictures")),
        ("s3://pictures/a/b%20c/", Bucket("pictures", "a/b c")),
        ("s3://pictures?region=eu-central-1", Bucket("pictures", region="eu-central-1")),
        ("s3://p?endpoint=http://[::1]:9000", Bucket("p", endpoint="http://[::1]:9000", path_style=True)),
        ("s3://p?endpoint=https://h&path_style=false", Bucket("p", endpoint="https://h")),
    ],
)
def test_s3_urls(url: str, bucket: Bucket) -> None:
    store = open_store(url)
    assert isinstance(store, S3Store)
    assert store.bucket == bucket
