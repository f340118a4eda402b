"""Zip archives."""

import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from zipfile import BadZipFile, ZipFile, ZipInfo

from core.collection.items import Found, Skipped
from core.collection.names import folder_label, is_clutter, presentable, tidy, why_unusable
from core.errors import BadArchive

MOST_DIRECTORY_BYTES = 8_388_608
"""Of a zip's table of contents, which is read whole: some 70,000 files."""
_PIECE = 65_536
_ENCRYPTED = 0x1


def is_zip(start: bytes) -> bool:
    """Whether a file that begins so is a zip, be it an empty one."""
    return start[:4] in {b"PK\x03\x04", b"PK\x05\x06"}


def read_zip(path: Path, most_bytes: int, most_total: int) -> Iterator[Found | Skipped]:
    """Every file in the zip, by its path in order; as `read_archive`."""
    with _Cautious(io.FileIO(path)) as file:
        try:
            archive = ZipFile(file)
        except (BadZipFile, NotImplementedError, ValueError, EOFError) as error:
            raise BadArchive(f"The zip is broken: {error}.", "Check that the file is whole.") from error
        members = [member for member in archive.infolist() if not member.is_dir() and not is_clutter(member.filename)]
        _check_total(members, most_total)
        for member in sorted(members, key=lambda each: tidy(each.filename)):
            yield _read(archive, member, most_bytes)


def _check_total(members: list[ZipInfo], most_total: int) -> None:
    total = sum(member.file_size for member in members)
    if total > most_total:
        raise BadArchive(f"The zip would unpack to {total} bytes.", f"At most {most_total} may be (add it in parts).")


def _read(archive: ZipFile, member: ZipInfo, most_bytes: int) -> Found | Skipped:
    if reason := _why_skipped(member, most_bytes):
        return Skipped(presentable(member.filename), reason)
    name = tidy(member.filename)
    try:
        with archive.open(member) as file:
            pieces = list(iter(lambda: file.read(_PIECE), b""))  # no more than its stated size is unpacked
    except (BadZipFile, zlib.error, NotImplementedError, EOFError, OSError, RuntimeError, ValueError) as error:
        return Skipped(name, f"It cannot be unpacked: {str(error) or type(error).__name__}.")
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
