"""A picture store in the memory of one process: for tests and notebooks."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from threading import Lock

from store.base import Entry, absent, key_of


class MemoryStore:
    """Keeps bytes until the process ends."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[bytes, datetime]] = {}
        self._lock = Lock()

    def put(self, data: bytes) -> str:
        key = key_of(data)
        with self._lock:
            self._kept[key] = (bytes(data), datetime.now(UTC))
        return key

    def put_all(self, datas: Sequence[bytes]) -> list[str]:
        return [self.put(data) for data in datas]

    def get(self, key: str, *, most_bytes: int | None = None) -> bytes:
        data, _ = self._kept.get(key, (None, None))
        if data is None or (most_bytes is not None and len(data) > most_bytes):
            raise absent(key)
        return data

    def exists(self, key: str) -> bool:
        return key in self._kept

    def delete(self, key: str, *, unless_since: datetime | None = None) -> bool:
        with self._lock:
            found = self._kept.get(key)
            if found is None or (unless_since is not None and found[1] >= unless_since):
                return False
            del self._kept[key]
            return True

    def entries(self, prefix: str = "") -> Iterator[Entry]:
        for key, (_, written_at) in list(self._kept.items()):
            if key.startswith(prefix):
                yield Entry(key, written_at)
