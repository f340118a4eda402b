"""The picture store: content-addressed, put-if-absent. `open_store` gives the one that a URL names."""

from store.base import Entry, PictureStore, is_key, key_of
from store.folder import FolderStore
from store.memory import MemoryStore
from store.urls import open_store

__all__ = ["Entry", "FolderStore", "MemoryStore", "PictureStore", "is_key", "key_of", "open_store"]
