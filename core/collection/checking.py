"""Files to images: decoded once, in a few threads, in order."""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache

from core.collection.items import Checked, Found, Skipped
from core.collection.names import reason_of
from core.errors import BadPicture
from core.uploads import Limits, read_upload

THREADS = 4
"""Of a process, whoever is served: a decoded image may be large."""
AHEAD = 2 * THREADS
"""So many files of one collection are in memory at once."""

Keep = Callable[[bytes], object]


def checked(items: Iterable[Found | Skipped], limits: Limits, keep: Keep | None = None) -> Iterator[Checked | Skipped]:
    """Every file as the image it is, or skipped with the reason; in the order in which they come.

    Args:
        items: the files.
        limits: what an image may be at most.
        keep: is given the bytes of each image, in one of several threads; what it raises is raised here.
    """
    ahead: deque[Future[Checked | Skipped]] = deque()
    try:
        for item in items:
            ahead.append(_pool().submit(_check, item, limits, keep))
            if len(ahead) >= AHEAD:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        for waiting in ahead:
            waiting.cancel()


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, "checking")


def _check(item: Found | Skipped, limits: Limits, keep: Keep | None) -> Checked | Skipped:
    if isinstance(item, Skipped):
        return item
    try:
        width, height = read_upload(item.data, limits).size
    except BadPicture as error:
        return Skipped(item.name, reason_of(str(error)))
    if keep is not None:
        keep(item.data)
    key = hashlib.sha256(item.data).hexdigest()
    return Checked(item.name, item.label, key, len(item.data), width, height)
