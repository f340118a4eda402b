"""A picture store in a folder: ab/cd/abcd... , each file written whole or not at all."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import NamedTemporaryFile

from core.errors import BadSetting
from store.base import absent, is_key, key_of

_PARTIAL = "partial"
"""The folder of files that are being written, beside those of the first level, which have two letters."""
ABANDONED_SECONDS = 24 * 3600
"""A file that nobody has written to for so long was left by a process that was killed."""


class FolderStore:
    """Keeps each picture in a file of two levels of folders, 65,536 in all, so that none holds too many."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._swept = False

    def put(self, data: bytes) -> str:
        key = key_of(data)
        path = self._path(key)
        try:
            if not path.exists():
                self._write(path, data)
        except OSError as error:
            raise _unusable(self.root, "written to", error) from error
        return key

    def get(self, key: str, *, most_bytes: int | None = None) -> bytes:
        if not is_key(key):
            raise absent(key)
        path = self._path(key)
        try:
            if most_bytes is not None and path.stat().st_size > most_bytes:
                raise absent(key)
            return path.read_bytes()
        except FileNotFoundError:
            raise absent(key) from None
        except OSError as error:
            raise _unusable(self.root, "read", error) from error

    def exists(self, key: str) -> bool:
        return is_key(key) and self._path(key).is_file()

    def delete(self, key: str) -> None:
        if not is_key(key):
            return
        try:
            self._path(key).unlink(missing_ok=True)
        except OSError as error:
            raise _unusable(self.root, "written to", error) from error

    def keys(self) -> Iterator[str]:
        return (path.name for path in self.root.glob("??/??/*") if is_key(path.name))

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


def _unusable(root: Path, how: str, error: OSError) -> BadSetting:
    return BadSetting(
        f"The picture store {root} cannot be {how}: {error.strerror}.", "Check its disk space and permissions."
    )
