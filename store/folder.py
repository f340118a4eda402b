"""A picture store in a folder: ab/cd/abcd... , each file written whole or not at all."""

import os
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from core.errors import StoreUnavailable
from store.base import REFRESH_SECONDS, Entry, absent, is_key, key_of

_PARTIAL = "partial"
"""The folder of files that are being written or deleted, beside those of the first level, which have two letters."""
_AT_ONCE = 64
"""Files that are open together."""
ABANDONED_SECONDS = 24 * 3600
"""A file that nobody has written to for so long was left by a process that was killed."""


class FolderStore:
    """Keeps each picture in a file of two levels of folders, 65,536 in all, so that none holds too many."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._swept = False

    def put(self, data: bytes) -> str:
        return self.put_all([data])[0]

    def put_all(self, datas: Sequence[bytes]) -> list[str]:
        keys = [key_of(data) for data in datas]
        paths = {self._path(key): data for key, data in zip(keys, datas, strict=True)}
        with self._usable("written to"):
            self._write({path: data for path, data in paths.items() if not _refreshed(path)})
            for folder in {path.parent for path in paths}:
                _sync_folder(folder)
        return keys

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

    def _write(self, files: Mapping[Path, bytes]) -> None:
        partial = self.root / _PARTIAL
        if not self._swept:
            self._swept = True
            partial.mkdir(parents=True, exist_ok=True)
            _sweep(partial)
        paths = list(files)
        for start in range(0, len(paths), _AT_ONCE):
            _write_whole({path: files[path] for path in paths[start : start + _AT_ONCE]}, partial)

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


def _write_whole(files: Mapping[Path, bytes], folder: Path) -> None:
    """Write files in `folder`, to the disk, then rename them: a reader or a crash never meets half of one.

    All are written before the first is waited for: the disk then takes them together.
    """
    partials = {path: folder / secrets.token_hex(16) for path in files}
    try:
        with ExitStack() as opened:
            written = [opened.enter_context(_written(partials[path], data)) for path, data in files.items()]
            for file in written:
                os.fsync(file.fileno())
        for path, partial in partials.items():
            _rename(partial, path)
    except BaseException:
        for partial in partials.values():
            partial.unlink(missing_ok=True)
        raise


@contextmanager
def _written(path: Path, data: bytes) -> Iterator[BinaryIO]:
    """A new file that holds `data`, not yet on the disk."""
    with _new(path) as file:
        file.write(data)
        file.flush()
        os.fchmod(file.fileno(), 0o644)  # whatever this process's habit: the web server may be another user
        yield file


def _new(path: Path) -> BinaryIO:
    with suppress(FileNotFoundError):
        return path.open("xb")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("xb")


def _rename(partial: Path, path: Path) -> None:
    try:
        partial.replace(path)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.replace(path)


def _sync_folder(folder: Path) -> None:
    """Make the new names in it last through a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
