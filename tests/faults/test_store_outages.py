"""The picture store is full, read-only, gone or silent, or the process dies in the middle of a put."""

import os
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from core.errors import NotFound, StoreUnavailable
from store import PictureStore, folder, open_store
from store import s3 as s3_module
from store.base import key_of
from tests.conftest import ROOT
from tests.s3 import BUCKET, S3
from tests.services import free_port, wait_until

pytestmark = pytest.mark.faults

DATA = b"a picture"
KEY = key_of(DATA)


@contextmanager
def disk(place: Path, size: str = "1m") -> Iterator[Callable[[str], None]]:
    """A small file system of its own at `place`; gives what mounts it anew with other options."""
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("only root can make a small disk")  # in CI too: a process with a limit is tested below
    try:
        yield lambda options: subprocess.run(["mount", "-o", f"remount,{options}", place], check=True) and None
    finally:
        subprocess.run(["umount", place], check=True)


def files(place: Path) -> list[Path]:
    return [path for path in place.rglob("*") if path.is_file()]


def test_a_full_disk_is_said_leaves_nothing_and_is_used_again_when_there_is_room(tmp_path: Path) -> None:
    with disk(tmp_path / "disk") as _:
        store = open_store((tmp_path / "disk" / "pictures").as_uri())
        store.put(DATA)
        filler = tmp_path / "disk" / "filler"
        with pytest.raises(OSError, match="No space"):
            filler.write_bytes(bytes(2_000_000))
        with pytest.raises(StoreUnavailable, match=r"cannot be written to: No space left.*disk space"):
            store.put(os.urandom(100_000))
        assert store.get(KEY) == DATA
        assert len(files(tmp_path / "disk" / "pictures")) == 1
        filler.unlink()
        large = store.put(os.urandom(100_000))
        assert store.exists(large)


def test_a_read_only_disk_gives_and_does_not_take(tmp_path: Path) -> None:
    with disk(tmp_path / "disk") as remount:
        store = open_store((tmp_path / "disk" / "pictures").as_uri())
        store.put(DATA)
        remount("ro")
        with pytest.raises(StoreUnavailable, match="Read-only file system"):
            store.put(b"another")
        with pytest.raises(StoreUnavailable, match="Read-only file system"):
            store.delete(KEY)
        assert store.put(DATA) == KEY  # it is there already
        assert store.get(KEY) == DATA
        remount("rw")
        assert store.exists(store.put(b"another"))


def child(code: str, **env: str) -> "subprocess.Popen[str]":
    """Another process that runs `code`."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=ROOT,
        env=os.environ | env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_a_limit_on_files_is_like_a_full_disk(tmp_path: Path) -> None:
    code = f"""
        import resource, signal
        from core.errors import StoreUnavailable
        from store import open_store
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        store = open_store({(tmp_path / "pictures").as_uri()!r})
        store.put(b"small")
        try:
            store.put(bytes(20_000))
        except StoreUnavailable as error:
            print(error)
    """
    said, complaints = child(code).communicate(timeout=60)
    assert "File too large" in said, complaints
    assert [path.stat().st_size for path in files(tmp_path)] == [5]


def test_killed_in_the_middle_of_a_put_into_a_folder(tmp_path: Path) -> None:
    code = f"""
        import os, time
        from store import open_store
        os.fsync = lambda descriptor: time.sleep(600)  # a very slow disk
        open_store({tmp_path.as_uri()!r}).put({DATA!r})
    """
    with child(code) as process:
        wait_until(lambda: any(path.stat().st_size for path in files(tmp_path)), what="half a put")
        process.kill()
    store = open_store(tmp_path.as_uri())
    check_nothing_of(store)
    store.put(DATA)
    assert [entry.key for entry in store.entries()] == [KEY]
    [left] = [path for path in files(tmp_path) if path.name != KEY]  # and a day later:
    os.utime(left, (0, time.time() - folder.ABANDONED_SECONDS - 1))
    open_store(tmp_path.as_uri()).put(b"another")
    assert not left.exists()


def check_nothing_of(store: PictureStore, key: str = KEY) -> None:
    assert not store.exists(key)
    assert list(store.entries()) == []
    with pytest.raises(NotFound):
        store.get(key)


# --- S3 --------------------------------------------------------------------------------


class Line:
    """A line to a server that goes dead once so many bytes have been sent over it."""

    def __init__(self, port: int, most_bytes: int) -> None:
        self.port = free_port()
        self.dead = threading.Event()
        self._left = most_bytes
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._server_port = port
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):  # until the listener is closed
            while True:
                near = self._listener.accept()[0]
                far = socket.create_connection(("127.0.0.1", self._server_port))
                for ends in ((near, far, True), (far, near, False)):
                    threading.Thread(target=self._carry, args=ends, daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, counted: bool) -> None:
        with suppress(OSError), target:
            while (data := source.recv(65536)) and not self.dead.is_set():
                target.sendall(data)
                self._left -= len(data) * counted
                if self._left <= 0:
                    self.dead.set()

    def close(self) -> None:
        self._listener.close()


PUT = """
    import os, time
    from store import open_store, s3
    s3.PART_BYTES = 5 * 1024 * 1024
    s3.TRIES, s3.READ_SECONDS = 1, 600
    open_store(os.environ["URL"]).put(bytes(int(os.environ["SIZE"])))
"""


@pytest.mark.parametrize("size", [4_000_000, 30_000_000], ids=["in one request", "in parts"])
def test_killed_in_the_middle_of_a_put_into_a_bucket(s3: S3, size: int) -> None:
    prefix = f"killed/{size}"
    line = Line(s3.port, size // 2)
    with child(PUT, URL=s3.url_of(BUCKET, prefix, line.port), SIZE=str(size)) as process:
        assert line.dead.wait(60)
        process.kill()
    line.close()
    store = open_store(s3.url_of(BUCKET, prefix))
    time.sleep(0.5)  # for the server to see the end of the request
    check_nothing_of(store, key_of(bytes(size)))
    assert len(store.get(store.put(bytes(size)))) == size


def each_verb(store: PictureStore) -> list[Callable[[], object]]:
    return [
        lambda: store.put(DATA),
        lambda: store.get(KEY),
        lambda: store.exists(KEY),
        lambda: store.delete(KEY),
        lambda: list(store.entries()),
    ]


def unavailable(verbs: list[Callable[[], object]], reason: str) -> None:
    for verb in verbs:
        with pytest.raises(StoreUnavailable, match=reason):
            verb()


def test_a_bucket_that_is_not_there(s3: S3) -> None:
    store = open_store(s3.url_of("absent"))
    put, get, exists, delete, entries = each_verb(store)
    unavailable([put, get, entries], r"does not exist \(NoSuchBucket\).*Make the bucket first")
    assert not exists()  # the answer to a HEAD does not say what is absent
    assert not delete()


def test_wrong_credentials(s3: S3) -> None:
    store = open_store(s3.url)
    s3.require_credentials(True)
    try:
        unavailable(each_verb(store), "Check the credentials")
    finally:
        s3.require_credentials(False)


def test_no_credentials(s3: S3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    unavailable(each_verb(open_store(s3.url)), "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")


def test_nobody_answers(s3: S3) -> None:
    started = time.monotonic()
    unavailable(each_verb(open_store(s3.url_of(BUCKET, port=free_port()))), "Could not connect.*service runs")
    assert time.monotonic() - started < 5 * 10


def test_a_service_that_accepts_and_is_silent_is_given_up(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_module, "READ_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = open_store(s3.url_of(BUCKET, port=silent.getsockname()[1]))
        unavailable([lambda: store.put(DATA), lambda: store.get(KEY)], "timeout")


def test_a_line_that_goes_dead_in_the_middle_of_a_get(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    key = open_store(s3.url).put(os.urandom(4_000_000))
    monkeypatch.setattr(s3_module, "READ_SECONDS", 0.5)
    line = Line(s3.port, 10)  # its answer begins, the rest never comes
    with pytest.raises(StoreUnavailable, match="cannot be read"):
        open_store(s3.url_of(BUCKET, port=line.port)).get(key)
    line.close()
