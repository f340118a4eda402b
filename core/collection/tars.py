"""Tar archives, read from front to back: plain trees of images, and WebDataset shards.

A WebDataset (github.com/webdataset) keeps what belongs together side by side in files of one name: `0001.jpg` with its
label in `0001.cls`, or as "label" in `0001.json`.
"""

import bz2
import gzip
import json
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn, cast

from core.collection.items import Found, Skipped
from core.collection.names import (
    folder_label,
    is_called_an_image,
    is_clutter,
    presentable,
    reason_of,
    tidy,
    usable_label,
    why_unusable,
)
from core.errors import BadArchive

LABEL_HEADER, REASON_HEADER = "DEEPVIS.label", "DEEPVIS.reason"
"""Extended headers of a member: its label; why it is left out."""
MOST_HEADER_BYTES = 65_536
MOST_CHAINED = 8
"""Headers before one member that say more of it: a long name, a long link, what is extended, what holds for all."""
MOST_GLOBAL = 100
"""Fields that hold for all members; they are in memory to the end. `git archive` writes one."""
MOST_TOGETHER = 8
"""Most files of one name that are looked at together."""
_HEADERS = frozenset({
    tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK
})  # fmt: skip
_BROKEN = (tarfile.TarError, EOFError, OSError, zlib.error, ValueError, RecursionError)
_OPENERS: dict[bytes, Callable[[Path, str], Any]] = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open}


def is_tar(start: bytes) -> bool:
    """Whether a file that begins so is a tar, or compressed and may be one."""
    if start[:2] in _OPENERS:
        return True
    try:
        tarfile.TarInfo.frombuf(start[: tarfile.BLOCKSIZE], "utf-8", "surrogateescape")
    except tarfile.TarError:
        return False
    return True


def tar_names(path: Path, most_total: int) -> Iterator[str]:
    """The path of every file in the tar. Raises as `read_tar`."""
    for _, member in _members(path, most_total):
        yield tidy(member.name)


def read_tar(path: Path, most_bytes: int, most_total: int, around: str = "") -> Iterator[Found | Skipped]:
    """Every file in the tar, as they come, without the folder `around` them; as `read_archive`."""
    group: list[_File] = []
    for file in (_read(*each, most_bytes, around) for each in _members(path, most_total)):
        if group and (file.stem != group[0].stem or len(group) == MOST_TOGETHER):
            yield from _images(group)
            group = []
        group.append(file)
    yield from _images(group)


@dataclass(frozen=True)
class _File:
    """A member of the archive, read."""

    name: str
    label: str | None  # by its own header
    data: bytes
    reason: str = ""  # for leaving it out

    @property
    def stem(self) -> str:
        """What the files that belong together share: the path up to the first dot of the file's own name."""
        folder, slash, own = self.name.rpartition("/")
        return folder + slash + own.partition(".")[0]


# --- what belongs together -------------------------------------------------------


def _images(group: list[_File]) -> Iterator[Found | Skipped]:
    """The images of a group; what is beside an image says something of it. Without one, each stands for itself."""
    images = [file for file in group if is_called_an_image(file.name)]
    noted = next((label for file in group if (label := _noted(file)) is not None), None) if images else None
    for file in images or group:
        if file.reason:
            yield Skipped(presentable(file.name), file.reason)
        else:
            yield Found(file.name, file.label or noted or folder_label(file.name), file.data)


def _noted(file: _File) -> str | None:
    """The label that a file beside an image says."""
    text = file.data.decode(errors="replace").strip()
    if file.name.endswith(".cls"):
        return usable_label(text)
    return _in_json(text) if file.name.endswith(".json") else None


def _in_json(text: str) -> str | None:
    try:
        note = json.loads(text)
    except (ValueError, RecursionError):
        return None
    label = note.get("label") if isinstance(note, dict) else None
    is_label = isinstance(label, str | int) and not isinstance(label, bool)
    return usable_label(str(label)) if is_label else None


# --- members ---------------------------------------------------------------------


def _members(path: Path, most_total: int) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """Every file of the archive, which can be read until the next one is asked for."""
    opener = _OPENERS.get(_first_bytes(path), Path.open)
    try:
        with opener(path, "rb") as file:
            stream = cast(IO[bytes], _Counted(file, most_total))
            with _Archive.open(fileobj=stream, mode="r|", tarinfo=_Header) as archive:
                while (member := archive.next()) is not None:
                    if not member.isdir() and not is_clutter(member.name):
                        yield archive, member
                    archive.members.clear()  # type: ignore[attr-defined]  # it remembers all that it has passed
    except _BROKEN as error:
        raise _broken(error) from error


def _broken(error: Exception) -> BadArchive:
    return BadArchive(f"The tar is broken: {error}.", "Check that the file is whole.")


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(2)


def _read(archive: tarfile.TarFile, member: tarfile.TarInfo, most_bytes: int, around: str) -> _File:
    label = usable_label(member.pax_headers.get(LABEL_HEADER))
    reason = reason_of(member.pax_headers.get(REASON_HEADER, "")) or _why_skipped(member, most_bytes)
    name = member.name if reason else tidy(member.name).removeprefix(around)
    return _File(name, label, b"" if reason else _bytes(archive, member), reason)


def _bytes(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    try:
        file = archive.extractfile(member)
        return file.read() if file else b""
    except _BROKEN as error:
        raise _broken(error) from error


def _why_skipped(member: tarfile.TarInfo, most_bytes: int) -> str:
    if not member.isfile() or member.issparse():
        return "It is a link, or another thing that is no plain file."
    if member.size > most_bytes:
        return f"It has {member.size} bytes, and at most {most_bytes} are accepted."
    return why_unusable(member.name)


class _Archive(tarfile.TarFile):
    """An archive that knows how many headers are being read, each within the one before it."""

    depth = 0


class _Header(tarfile.TarInfo):
    """A header that is refused where tarfile would take it for the archive's end, or much memory for it."""

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> "_Header":
        archive = cast(_Archive, tarfile)
        archive.depth += 1
        try:
            if archive.depth > MOST_CHAINED or len(archive.pax_headers) > MOST_GLOBAL:
                raise BadArchive("A member of the tar has too many headers.", "Pack the images anew.")
            return super().fromtarfile(archive)
        finally:
            archive.depth -= 1

    def _refuse(self, *_: object) -> NoReturn:
        raise BadArchive("The tar has a sparse file, whose map may be of any size.", "Pack it without --sparse.")

    _proc_sparse = _proc_gnusparse_00 = _proc_gnusparse_01 = _proc_gnusparse_10 = _refuse

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_Header":
        try:
            found = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if buf.strip(b"\0"):
                raise _broken(error) from error
            raise  # nothing, or zeros: the end
        if found.type in _HEADERS and found.size > MOST_HEADER_BYTES:
            raise BadArchive(f"A header of the tar has {found.size} bytes.", f"At most {MOST_HEADER_BYTES} may be.")
        return found


class _Counted:
    """A file that refuses to go on beyond a number of bytes: a small one may unpack to anything."""

    def __init__(self, file: IO[bytes], most: int) -> None:
        self._file, self._most, self._left = file, most, most

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise BadArchive(f"The tar unpacks to more than {self._most} bytes.", "Add the images in parts.")
        return data
