"""The picture store: content-addressed, put-if-absent. `open_store` gives the one that a URL names."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from core.errors import BadSetting
from store.base import Entry, PictureStore, is_key, key_of
from store.folder import FolderStore
from store.memory import MemoryStore

__all__ = ["Entry", "FolderStore", "MemoryStore", "PictureStore", "is_key", "key_of", "open_store"]


def open_store(url: str) -> PictureStore:
    """The store at `url`: file:///folder, or memory:// (one process only). Makes no folder before the first put.

    Raises:
        BadSetting: the URL names no store that there is.
    """
    parts = urlsplit(url)
    if parts.scheme == "memory":
        return MemoryStore()
    if parts.scheme == "file" and parts.netloc in {"", "localhost"} and parts.path.startswith("/"):
        return FolderStore(Path(unquote(parts.path)))
    what = "S3-compatible stores are not supported yet." if parts.scheme == "s3" else f"{url!r} is no picture store."
    raise BadSetting(what, "Set DEEPVIS_STORE_URL to file:///some/folder.")
