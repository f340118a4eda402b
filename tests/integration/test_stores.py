"""One contract for every picture store: a folder, memory, and a bucket of a real S3 server."""

import hashlib
import os
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core.errors import NotFound
from store import PictureStore, open_store
from store.base import REFRESH_SECONDS
from tests.integration.racing import race
from tests.integration.stores import KINDS, Place, ago
from tests.s3 import BUCKET, S3

pytestmark = pytest.mark.integration

DATA = b"a picture"
KEY = hashlib.sha256(DATA).hexdigest()
NO_KEYS = ["", "abc", "../../etc/passwd", KEY.upper(), KEY + "\n", KEY[:-1], "g" * 64, f"{KEY}/..", "٣" * 64, "\0" * 64]
DAY = 24 * 3600


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "s3":
        server: S3 = request.getfixturevalue("s3")
        yield Place(open_store(server.url_of(BUCKET, f"tests/{uuid.uuid4().hex}")), server)
    else:
        yield Place(open_store((tmp_path / "pictures").as_uri() if request.param == "folder" else "memory://"))


@pytest.fixture
def store(place: Place) -> PictureStore:
    return place.store


def keys(store: PictureStore, prefix: str = "") -> list[str]:
    return [entry.key for entry in store.entries(prefix)]


def test_what_was_put_is_there_under_its_hash(store: PictureStore) -> None:
    assert not store.exists(KEY)
    assert store.put(DATA) == KEY
    assert store.exists(KEY)
    assert store.get(KEY) == DATA
    assert store.get(store.put(b"")) == b""


def test_putting_twice_is_putting_once(store: PictureStore) -> None:
    assert store.put(DATA) == store.put(DATA)
    assert keys(store) == [KEY]


def test_many_at_once_are_as_many_one_by_one(store: PictureStore) -> None:
    there = store.put(b"7")
    datas = [str(n % 70).encode() for n in range(100)]
    assert store.put_all([]) == []
    assert store.put_all(datas) == [hashlib.sha256(data).hexdigest() for data in datas]
    assert {store.get(key) for key in keys(store)} == set(datas)
    assert store.exists(there)


def test_entries_are_all_that_was_put_and_when(store: PictureStore) -> None:
    assert keys(store) == []
    put = {store.put(bytes([n])) for n in range(50)}
    assert sorted(keys(store)) == sorted(put)
    assert all(ago(60) < entry.written_at <= ago(-60) for entry in store.entries())


def test_sixteen_passes_see_each_entry_once(store: PictureStore) -> None:
    put = {store.put(bytes([n])) for n in range(50)}
    assert sorted(key for digit in "0123456789abcdef" for key in keys(store, digit)) == sorted(put)
    chosen = min(put)
    assert all(keys(store, chosen[:length]) == [chosen] for length in (5, 64))
    assert keys(store, "x") == []


def test_deleted_is_gone_and_may_be_deleted_again(store: PictureStore) -> None:
    store.put(DATA)
    assert store.delete(KEY)
    assert not store.delete(KEY)
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
    assert not store.delete(text)
    assert keys(store) == [KEY]


def test_same_data_put_at_once_is_whole(store: PictureStore) -> None:
    data = os.urandom(1_000_000)
    with ThreadPoolExecutor(8) as pool:
        put = set(pool.map(store.put, [data] * 16))
    assert len(put) == 1
    assert store.get(put.pop()) == data


def test_what_is_too_large_is_not_read(store: PictureStore) -> None:
    store.put(DATA)
    assert store.get(KEY, most_bytes=len(DATA)) == DATA
    with pytest.raises(NotFound):
        store.get(KEY, most_bytes=len(DATA) - 1)


def test_only_what_was_not_written_since_is_deleted(place: Place) -> None:
    place.store.put(DATA)
    place.set_age(KEY, 2 * DAY)
    assert not place.store.delete(KEY, unless_since=ago(3 * DAY))
    assert place.store.exists(KEY)
    assert place.store.delete(KEY, unless_since=ago(DAY))
    assert not place.store.delete(KEY, unless_since=ago(DAY))
    assert keys(place.store) == []


def test_putting_old_bytes_again_makes_them_young(place: Place) -> None:
    place.store.put(DATA)
    place.set_age(KEY, 2 * REFRESH_SECONDS)
    place.store.put(DATA)
    assert place.age(KEY) < 60
    assert not place.store.delete(KEY, unless_since=ago(60))
    assert place.store.get(KEY) == DATA


@pytest.mark.parametrize("deleters", [1, 2])
def test_what_a_put_returned_for_outlives_a_deletion_at_the_same_time(place: Place, deleters: int) -> None:
    for _ in range(20):
        place.store.put(DATA)
        place.set_age(KEY, 2 * DAY)
        race([lambda: place.store.put(DATA), *[lambda: place.store.delete(KEY, unless_since=ago(DAY))] * deleters])
        assert place.store.get(KEY) == DATA
        assert keys(place.store) == [KEY]
