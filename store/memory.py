"""A picture store in the memory of one process: for tests and notebooks."""

from collections.abc import Iterator

from store.base import absent, key_of


class MemoryStore:
    """Keeps bytes until the process ends."""

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}

    def put(self, data: bytes) -> str:
        key = key_of(data)
        self._kept.setdefault(key, bytes(data))
        return key

    def get(self, key: str, *, most_bytes: int | None = None) -> bytes:
        data = self._kept.get(key)
        if data is None or (most_bytes is not None and len(data) > most_bytes):
            raise absent(key)
        return data

    def exists(self, key: str) -> bool:
        return key in self._kept

    def delete(self, key: str) -> None:
        self._kept.pop(key, None)

    def keys(self) -> Iterator[str]:
        yield from list(self._kept)
