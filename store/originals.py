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

    def read(self, key: str, name: str) -> bytes:
        """The bytes of the image `name`, whose SHA-256 is `key`.

        Raises:
            ProbeSetChanged: it is gone, or another one.
            StoreUnavailable: it cannot be read just now.
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
            if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for
                raise self._changed(f"The file {name!r} is no file any more")
            return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError) as error:
            gone = f"The file {name!r} is gone" if root.is_dir() else f"There is no folder {root} on this machine"
            raise self._changed(gone) from error
        except OSError as error:
            detail = f"{name!r} of the probe set {self.set_name!r} cannot be read: {error.strerror}."
            raise StoreUnavailable(detail, f"Check the folder {root}.") from error

    def _changed(self, what: str) -> ProbeSetChanged:
        return ProbeSetChanged(f"{what} (probe set {self.set_name!r}).", "Bring it back, or add the images anew.")
