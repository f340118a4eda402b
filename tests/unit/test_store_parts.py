"""Files in parts: whatever their size, what is read is what was written, from anywhere."""

import io
import random

import pytest

from store import MemoryStore
from store.parts import PartsFile, put_parts


@pytest.mark.parametrize("size", [0, 1, 9, 10, 11, 100])
def test_what_is_read_is_what_was_written(size: int) -> None:
    store, data = MemoryStore(), random.Random(size).randbytes(size)
    parts = put_parts(store, io.BytesIO(data), part_bytes=10)
    assert [part.size for part in parts] == [len(data[at : at + 10]) for at in range(0, max(size, 1), 10)]
    file = PartsFile(store, parts)
    assert (file.size, file.readall()) == (size, data)
    twin, chance = io.BytesIO(data), random.Random(0)
    for _ in range(50):
        place, count = chance.randint(0, size + 3), chance.randint(0, 25)
        file.seek(place)
        twin.seek(place)
        pieces = []
        while count and (piece := file.read(count)):
            pieces.append(piece)
        assert b"".join(pieces) == (twin.read() if count else b"")
    assert file.seek(-3, io.SEEK_END) == max(0, size - 3)


def test_one_part_is_in_memory_at_a_time() -> None:
    asked = []

    class Counting(MemoryStore):
        def get(self, key: str, *, most_bytes: int | None = None) -> bytes:
            asked.append(key)
            return super().get(key, most_bytes=most_bytes)

    store = Counting()
    parts = put_parts(store, io.BytesIO(bytes(range(30))), part_bytes=10)
    file = PartsFile(store, parts)
    file.seek(12)
    assert file.read(3) == bytes((12, 13, 14))
    assert file.read(5) == bytes(range(15, 20))
    assert asked == [parts[1].key]
