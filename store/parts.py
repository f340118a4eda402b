"""Files of any size in a picture store, in parts: neither who writes nor who reads has more of them in memory."""

import io
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import BinaryIO, NamedTuple

from store.base import PictureStore

PART_BYTES = 8 * 1024 * 1024


class Part(NamedTuple):
    """A piece of a file."""

    key: str
    size: int  # bytes


def put_parts(store: PictureStore, file: BinaryIO, part_bytes: int = PART_BYTES) -> list[Part]:
    """Keep what is left to read of `file`; its parts in order, at least one."""
    parts: list[Part] = []
    while (data := file.read(part_bytes)) or not parts:
        parts.append(Part(store.put(data), len(data)))
    return parts


class PartsFile(io.RawIOBase):
    """A stored file, to be read from anywhere; one of its parts is in memory at a time."""

    def __init__(self, store: PictureStore, parts: Sequence[Part]) -> None:
        super().__init__()
        self._store = store
        self._parts = parts
        self._ends = list(accumulate(part.size for part in parts))
        self._place = 0
        self._held: tuple[int, bytes] = (-1, b"")

    @property
    def size(self) -> int:
        return self._ends[-1] if self._ends else 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self.size}[whence]
        self._place = max(0, start + offset)
        return self._place

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # typeshed's own Buffer
        """Fill the buffer as far as one part goes; 0 at the end."""
        if self._place >= self.size:
            return 0
        number = bisect_right(self._ends, self._place)
        start = self._place - (self._ends[number] - self._parts[number].size)
        data = memoryview(self._part(number))[start : start + len(buffer)]
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)

    def chunks(self, first: int, last: int) -> Iterator[bytes]:
        """The bytes `first` to `last`, the last one included."""
        self.seek(first)
        while (left := last + 1 - self._place) > 0 and (data := self.read(min(left, 262_144))):
            yield data

    def _part(self, number: int) -> bytes:
        if self._held[0] != number:
            self._held = (number, self._store.get(self._parts[number].key))
        return self._held[1]
