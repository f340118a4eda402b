"""Zip archives."""

import io
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import BadZipFile, ZipFile, ZipInfo

from core.collection.items import Found, Skipped
from core.collection.names import folder_label, is_clutter, presentable, reason_of, tidy, why_unusable
from core.errors import BadArchive

MOST_DIRECTORY_BYTES = 8_388_608
"""Of a zip's table of contents, which is read whole: some 70,000 files."""
_PIECE = 65_536
_ENCRYPTED = 0x1
_BROKEN = (
    BadZipFile, zlib.error, lzma.LZMAError, NotImplementedError, EOFError, OSError, RuntimeError, ValueError,
    MemoryError,  # a member says itself how large the dictionary is that LZMA needs
)  # fmt: skip


def is_zip(start: bytes) -> bool:
    """Whether a file that begins so is a zip, be it an empty one."""
    return start[:4] in {b"PK\x03\x04", b"PK\x05\x06"}


def zip_names(path: Path, most_total: int) -> Iterator[str]:
    """The path of every file in the zip. Raises as `read_zip`."""
    with _opened(path, most_total) as (_, members):
        yield from (tidy(member.filename) for member in members)


def read_zip(path: Path, most_bytes: int, most_total: int, around: str = "") -> Iterator[Found | Skipped]:
    """Every file in the zip, by its path in order, without the folder `around` them; as `read_archive`."""
    with _opened(path, most_total) as (archive, members):
        for member in members:
            yield _read(archive, member, most_bytes, around)


@contextmanager
def _opened(path: Path, most_total: int) -> Iterator[tuple[ZipFile, list[ZipInfo]]]:
    """The zip, and its files by their paths."""
    with _Cautious(io.FileIO(path)) as file:
        try:
            archive = ZipFile(file)
        except (BadZipFile, NotImplementedError, ValueError, EOFError) as error:
            raise BadArchive(f"The zip is broken: {error}.", "Check that the file is whole.") from error
        members = [member for member in archive.infolist() if not member.is_dir() and not is_clutter(member.filename)]
        total = sum(member.file_size for member in members)
        if total > most_total:
            raise BadArchive(f"The zip would unpack to {total} bytes.", f"At most {most_total} may be.")
        yield archive, sorted(members, key=lambda member: tidy(member.filename))


def _read(archive: ZipFile, member: ZipInfo, most_bytes: int, around: str) -> Found | Skipped:
    if reason := _why_skipped(member, most_bytes):
        return Skipped(presentable(member.filename), reason)
    name = tidy(member.filename).removeprefix(around)
    try:
        with archive.open(member) as file:
            pieces = list(iter(lambda: file.read(_PIECE), b""))  # no more than its stated size is unpacked
    except _BROKEN as error:
        return Skipped(name, reason_of(f"It cannot be unpacked: {str(error) or type(error).__name__}."))
    return Found(name, folder_label(name), b"".join(pieces))


def _why_skipped(member: ZipInfo, most_bytes: int) -> str:
    if member.flag_bits & _ENCRYPTED:
        return "It is encrypted."
    if member.file_size > most_bytes:
        return f"It has {member.file_size} bytes, and at most {most_bytes} are accepted."
    return why_unusable(member.filename)


class _Cautious(io.BufferedReader):
    """A file that refuses to be read in large pieces: a zip says itself how long its table of contents is."""

    def read(self, size: int | None = -1, /) -> bytes:
        most = MOST_DIRECTORY_BYTES
        data = super().read(most + 1 if size is None or size < 0 else size) if (size or 0) <= most else None
        if data is None or len(data) > most:
            raise BadArchive("The zip holds too many files.", "Pack the images as .tar, or in several parts.")
        return data
