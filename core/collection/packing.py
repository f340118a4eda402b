"""Files as tar archives of a few megabytes, to be sent one after the other."""

import io
import tarfile
from collections.abc import Iterable, Iterator

from core.collection.items import Found, Skipped
from core.collection.tars import LABEL_HEADER, REASON_HEADER

MOST_FILES = 200
MOST_BYTES = 8_000_000


def pack(items: Iterable[Found | Skipped]) -> Iterator[tuple[int, bytes]]:
    """How many files are in each archive, and the archive. `read_archive` gives the same files again.

    The same items give the same archives. One has at most `MOST_FILES` files, and ends with the one that brings it to
    `MOST_BYTES`.
    """
    count, buffer = 0, io.BytesIO()
    for item in items:
        _append(buffer, item)
        count += 1
        if count == MOST_FILES or buffer.tell() >= MOST_BYTES:
            yield count, _ended(buffer)
            count, buffer = 0, io.BytesIO()
    if count:
        yield count, _ended(buffer)


def _append(buffer: io.BytesIO, item: Found | Skipped) -> None:
    member = tarfile.TarInfo(item.name)
    data = item.data if isinstance(item, Found) else b""
    member.size = len(data)
    said = {REASON_HEADER: item.reason} if isinstance(item, Skipped) else {LABEL_HEADER: item.label or ""}
    member.pax_headers = {name: text for name, text in said.items() if text}
    buffer.write(member.tobuf(tarfile.PAX_FORMAT))
    buffer.write(data)
    buffer.write(bytes(-len(data) % tarfile.BLOCKSIZE))


def _ended(buffer: io.BytesIO) -> bytes:
    buffer.write(bytes(2 * tarfile.BLOCKSIZE))
    return buffer.getvalue()
