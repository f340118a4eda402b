"""A folder of images, with labels from its first level of folders if there are any (as torchvision's ImageFolder)."""

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

from core.collection.items import Found, Skipped
from core.collection.names import folder_label, is_clutter, presentable, why_unusable
from core.errors import InvalidRequest

Names = Iterable[tuple[str, str]]
"""Path within the folder, and why it is skipped (empty: it is not)."""


def read_folder(root: Path, most_bytes: int) -> Iterator[Found | Skipped]:
    """Every file below `root`, by its path in order; hidden ones are passed over.

    Links are followed to files within the folder, and nowhere else.

    Args:
        root: the folder.
        most_bytes: larger files are skipped unread.

    Raises:
        InvalidRequest: the folder cannot be read.
    """
    try:
        root = root.resolve(strict=True)
        for name, reason in _in_order(_walk(root)):
            yield Skipped(presentable(name), reason) if reason else _read(root, name, most_bytes)
    except OSError as error:
        raise InvalidRequest(
            f"The folder {root} cannot be read: {error.strerror}.", "Check its permissions."
        ) from error


def _read(root: Path, name: str, most_bytes: int) -> Found | Skipped:
    try:
        with (root / name).open("rb") as file:
            data = file.read(most_bytes + 1)
    except OSError as error:
        return Skipped(name, f"It cannot be read: {error.strerror}.")
    if len(data) > most_bytes:
        return Skipped(name, f"It has more than {most_bytes} bytes.")
    return Found(name, folder_label(name), data)


def _in_order(names: Names) -> Iterator[tuple[str, str]]:
    """The names in order. They are sorted in a file: a million of them would fill the memory."""
    with closing(sqlite3.connect("")) as file:  # no name: a temporary file, which goes with the connection
        file.execute("CREATE TABLE names (name BLOB PRIMARY KEY, reason TEXT) WITHOUT ROWID")
        rows = ((os.fsencode(name), reason) for name, reason in names)
        file.executemany("INSERT INTO names VALUES (?, ?)", rows)
        for name, reason in file.execute("SELECT name, reason FROM names ORDER BY name"):
            yield os.fsdecode(name), reason


def _walk(root: Path, below: str = "") -> Iterator[tuple[str, str]]:
    try:
        found = os.scandir(root / below)
    except OSError as error:
        if not below:
            raise
        yield below, f"The folder cannot be read: {error.strerror}."
        return
    with found:
        for entry in found:
            name = f"{below}/{entry.name}" if below else entry.name
            if is_clutter(entry.name):
                continue
            if entry.is_dir(follow_symlinks=False) and not why_unusable(name):
                yield from _walk(root, name)
            else:
                yield name, why_unusable(name) or _why_skipped(root, entry)


def _why_skipped(root: Path, entry: "os.DirEntry[str]") -> str:
    if entry.is_symlink():
        target = Path(os.path.realpath(entry.path))
        if not target.is_relative_to(root):
            return "It is a link that leads out of the folder."
        if target.is_dir():
            return "It is a link to a folder."
    return "" if entry.is_file() else "It is no file."
