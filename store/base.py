"""What every picture store is: five verbs on bytes that are named by their content."""

import hashlib
import re
from collections.abc import Iterator
from typing import Protocol

from core.errors import NotFound

_KEY = re.compile(r"[0-9a-f]{64}")


class PictureStore(Protocol):
    """Keeps bytes under their SHA-256. A key is 64 hex digits; no other text reaches what lies underneath."""

    def put(self, data: bytes) -> str:
        """Keep `data`, all or nothing; its key. Putting the same again changes nothing.

        Raises:
            BadSetting: it cannot be written (disk full, no permission), with the reason.
        """
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

    def delete(self, key: str) -> None:
        """Forget the bytes of `key`; nothing if there are none."""
        ...

    def keys(self) -> Iterator[str]:
        """Every key, in no particular order."""
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
