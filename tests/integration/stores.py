"""Every kind of picture store, and how its content gets old."""

import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from store import FolderStore, MemoryStore, PictureStore
from store.s3 import S3Store

if TYPE_CHECKING:
    from tests.s3 import S3

KINDS = ("folder", "memory", "s3")


@dataclass
class Place:
    """A store and where it is."""

    store: PictureStore
    s3: "S3 | None" = None

    def set_age(self, key: str, seconds: float) -> None:
        """Let the bytes of `key` have been written so long ago."""
        moment = time.time() - seconds
        if isinstance(self.store, FolderStore):
            os.utime(self.store.root / key[:2] / key[2:4] / key, (moment, moment))
        elif isinstance(self.store, MemoryStore):
            data, _ = self.store._kept[key]
            self.store._kept[key] = (data, datetime.fromtimestamp(moment, UTC))
        elif isinstance(self.store, S3Store) and self.s3:
            self.s3.set_age(f"{self.store.bucket.prefix}/{key}", seconds)

    def age(self, key: str) -> float:
        """Seconds since the bytes of `key` were written."""
        [entry] = self.store.entries(key)
        return (datetime.now(UTC) - entry.written_at).total_seconds()


def ago(seconds: float) -> datetime:
    return datetime.now(UTC) - timedelta(seconds=seconds)
