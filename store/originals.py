"""Images as they came: from the store, or from the folder in which they stay. What has changed is never given."""

import stat
from dataclasses import dataclass
from pathlib import Path

from core.errors import NotFound, ProbeSetChanged, StoreUnavailable
from store.base import PictureStore, key_of


@dataclass(frozen=True)
class Originals:
    """Where the images of one probe set are."""

    set_name: str
    store: PictureStore
    root: str | None  # the folder that they stay in; None: they are in the store
    most_bytes: int  # a larger file in the folder is another one, and not read

    def read(self, key: str, name: str) -> bytes:
        """The bytes of the image `name`, whose SHA-256 is `key`.

        Raises:
            ProbeSetChanged: it is gone, or another one.
            StoreUnavailable: it cannot be read just now, or the folder is not there: a disk may not be mounted.
        """
        data = self._from_store(key, name) if self.root is None else self._from_folder(Path(self.root), name)
        if key_of(data) != key:
            raise self._changed(f"The file {name!r} is not what it was when it was added")
        return data

    def _from_store(self, key: str, name: str) -> bytes:
        try:
            return self.store.get(key)
        except NotFound as error:
            raise self._changed(f"The picture store has no {name!r} any more") from error

    def _from_folder(self, root: Path, name: str) -> bytes:
        path = root / name
        try:
            found = path.stat()
            if not stat.S_ISREG(found.st_mode):  # a pipe would be waited for
                raise self._changed(f"The file {name!r} is no file any more")
            if found.st_size > self.most_bytes:
                raise self._changed(f"The file {name!r} has {found.st_size} bytes, more than an image may have")
            with path.open("rb") as file:
                return file.read(self.most_bytes + 1)  # it may grow meanwhile
        except (FileNotFoundError, NotADirectoryError) as error:
            if not _has_files(root):
                raise self._unreadable(f"There is no folder {root} on this machine, or nothing in it", root) from error
            raise self._changed(f"The file {name!r} is gone") from error
        except OSError as error:
            raise self._unreadable(f"{name!r} cannot be read: {error.strerror}", root) from error

    def _unreadable(self, what: str, root: Path) -> StoreUnavailable:
        return StoreUnavailable(f"{what} (probe set {self.set_name!r}).", f"Check the folder {root}; is it mounted?")

    def _changed(self, what: str) -> ProbeSetChanged:
        return ProbeSetChanged(f"{what} (probe set {self.set_name!r}).", "Bring it back, or add the images anew.")


def _has_files(folder: Path) -> bool:
    """Whether it is a folder with anything in it: the place of a disk that is not mounted is an empty one."""
    try:
        return any(folder.iterdir())
    except OSError:
        return False
