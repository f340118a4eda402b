"""Whether a picture store does what it is for."""

import os

from core.errors import BadSetting, NotFound
from store.base import PictureStore, key_of

PROBE_BYTES = 65_536
"""About a picture: a full disk often still takes a few bytes."""


def check_writable(store: PictureStore) -> None:
    """Keep something, read it again and forget it.

    Raises:
        BadSetting: the store does not take it, or gives back something else.
    """
    data = os.urandom(PROBE_BYTES)  # nobody else's: two checks at once must not delete each other's
    key = store.put(data)
    try:
        if store.get(key) != data:
            raise BadSetting("The picture store gives back other bytes than it took.", "Set DEEPVIS_STORE_URL.")
    finally:
        store.delete(key)


def check_readable(store: PictureStore) -> None:
    """Look for what is not there.

    Raises:
        BadSetting: the store cannot even say that.
    """
    try:
        store.get(key_of(os.urandom(16)))
    except NotFound:
        return
