"""A picture store in a folder: ab/cd/abcd... , each file written whole or not at all."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import NamedTemporaryFile

from core.errors import StoreUnavailable
from store.base import REFRESH_SECONDS, Entry, absent, is_key, key_of

_PARTIAL = "partial"
"""The folder of files that are being written or deleted, beside those of the first level, which have two letters."""
ABANDONED_SECONDS = 24 * 3600
"""A file that nobody has written to for so long was left by a process that was killed."""


class FolderStore:
    """Keeps each picture in a file of two levels of folders, 65,536 in all, so that none holds too many."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._swept = False

    def put(self, data: bytes) -> str:
        key = key_of(data)
        with self._usable("written to"):
            if not _refreshed(self._path(key)):
                self._write(self._path(key), data)
        return key

    def get(self, key: str, *, most_bytes: int | None = None) -> bytes:
        if not is_key(key):
            raise absent(key)
        path = self._path(key)
        with self._usable("read"):
            try:
                if most_bytes is not None and path.stat().st_size > most_bytes:
                    raise absent(key)
                return path.read_bytes()
            except FileNotFoundError:
                raise absent(key) from None

    def exists(self, key: str) -> bool:
        with self._usable("read"):
            return is_key(key) and self._path(key).is_file()

    def delete(self, key: str, *, unless_since: datetime | None = None) -> bool:
        if not is_key(key):
            return False
        with self._usable("written to"):
            try:
                return self._take_away(self._path(key), unless_since)
            except FileNotFoundError:
                return False

    def entries(self, prefix: str = "") -> Iterator[Entry]:
        with self._usable("read"):
            for first in _names(self.root, prefix[:2]):
                for second in _names(self.root / first, prefix[2:4]):
                    yield from _files(self.root / first / second, prefix)

    def _path(self, key: str) -> Path:
        return self.root / key[:2] / key[2:4] / key

    def _write(self, path: Path, data: bytes) -> None:
        partial = self.root / _PARTIAL
        for folder in (partial, path.parent):
            folder.mkdir(parents=True, exist_ok=True)
        if not self._swept:
            self._swept = True
            _sweep(partial)
        _write_whole(path, data, partial)

    def _take_away(self, path: Path, unless_since: datetime | None) -> bool:
        """Delete the file. One that may have to stay is moved aside before its age is judged: a put that comes in
        between either has made it young by then, or does not find it and writes it again."""
        if unless_since is None:
            path.unlink()
            return True
        if _written_at(path) >= unless_since:
            return False
        aside = self.root / _PARTIAL / f"{path.name}.{os.getpid()}"
        aside.parent.mkdir(exist_ok=True)
        path.rename(aside)
        if _written_at(aside) >= unless_since:
            aside.rename(path)
            return False
        aside.unlink()
        return True

    @contextmanager
    def _usable(self, how: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreUnavailable(
                f"The picture store {self.root} cannot be {how}: {error.strerror or error}.",
                "Check its disk space and permissions.",
            ) from error


def _refreshed(path: Path) -> bool:
    """Whether the file is there and counts, from now on at the latest, as written lately."""
    try:
        if path.stat().st_mtime < time.time() - REFRESH_SECONDS:
            os.utime(path)
    except (FileNotFoundError, PermissionError):  # absent, or another user's, to be replaced
        return False
    return True


def _written_at(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)


def _names(folder: Path, prefix: str) -> list[str]:
    """Names of the two-letter folders in `folder` that begin with `prefix`."""
    try:
        names = [path.name for path in folder.iterdir()]
    except FileNotFoundError:
        return []
    return [name for name in names if len(name) == 2 and name.startswith(prefix)]


def _files(folder: Path, prefix: str) -> Iterator[Entry]:
    for path in folder.iterdir():
        if is_key(path.name) and path.name.startswith(prefix):
            try:
                yield Entry(path.name, _written_at(path))
            except FileNotFoundError:
                continue  # deleted since


def _sweep(folder: Path) -> None:
    """Delete what killed processes left half-written."""
    for left in folder.iterdir():
        try:
            if left.stat().st_mtime < time.time() - ABANDONED_SECONDS:
                left.unlink()
        except FileNotFoundError:
            continue  # whoever wrote it has just finished, or another process sweeps too


def _write_whole(path: Path, data: bytes, folder: Path) -> None:
    """Write a file in `folder`, to the disk, then rename it: a reader or a crash never meets half of one."""
    with NamedTemporaryFile(dir=folder, delete=False) as file:
        partial = Path(file.name)
        try:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), 0o644)  # private by default: the web server may be another user
            os.fsync(file.fileno())
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make the new name itself last through a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
