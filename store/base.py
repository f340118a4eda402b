"""What every picture store is: five verbs on bytes that are named by their content."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from core.errors import NotFound

_KEY = re.compile(r"[0-9a-f]{64}")
REFRESH_SECONDS = 3600.0
"""What was written longer ago is written anew by a put of the same bytes, so that no sweep takes it for abandoned."""


class Entry(NamedTuple):
    """Something in a store."""

    key: str
    written_at: datetime  # UTC, by the store's clock; of the last write, not the first


class PictureStore(Protocol):
    """Keeps bytes under their SHA-256. A key is 64 hex digits; no other text reaches what lies underneath.

    Every verb raises `StoreUnavailable`, with the reason, when the store itself cannot be used: disk full, read-only,
    no permission, unreachable. Each may be called from several threads at once.
    """

    def put(self, data: bytes) -> str:
        """Keep `data`, all or nothing; its key. Putting the same again changes nothing but how old it is."""
        ...

    def put_all(self, datas: Sequence[bytes]) -> list[str]:
        """`put` for some dozens at once, which is cheaper; all are kept when it returns. Their keys, in order."""
        ...

    def get(self, key: str, *, most_bytes: int | None = None) -> bytes:
        """The bytes of `key`; with `most_bytes`, none are read if they are more.

        Raises:
            NotFound: there are none, they are too many, or it is no key.
        """
        ...

    def exists(self, key: str) -> bool:
        """Whether there are bytes of `key`; False for what is no key."""
        ...

    def delete(self, key: str, *, unless_since: datetime | None = None) -> bool:
        """Forget the bytes of `key`; whether there were any.

        Args:
            unless_since: keep them if they were written at that moment or later, also if that happens meanwhile.
        """
        ...

    def entries(self, prefix: str = "") -> Iterator[Entry]:
        """Everything whose key begins with `prefix` (hex digits), in no particular order."""
        ...


def key_of(data: bytes) -> str:
    """The key of `data`: its SHA-256 as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def is_key(text: str) -> bool:
    """Whether `text` has the form of a key."""
    return _KEY.fullmatch(text) is not None


def absent(key: str) -> NotFound:
    """The error for a key that has no bytes."""
    shown = key if is_key(key) else "that name"
    return NotFound(f"The store holds nothing under {shown}.", "A key is the SHA-256 of what was stored.")
