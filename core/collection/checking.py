"""Files to images: decoded once, in a few threads, in order."""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from threading import Lock

from core.collection.items import Checked, Found, Skipped
from core.collection.names import reason_of
from core.errors import BadPicture, TooLarge
from core.uploads import Limits, decoded_pixels, read_upload

THREADS = 4
"""Of a process, whoever is served: a decoded image may be large."""
AHEAD = 2 * THREADS
"""So many files of one collection are in memory at once."""

Keep = Callable[[bytes], object]


class _Budget:
    """Pixels that may still be decoded, whether an image comes of them or not."""

    def __init__(self, most: int) -> None:
        self._most, self._left, self._lock = most, most, Lock()

    def spend(self, pixels: int) -> None:
        with self._lock:
            self._left -= pixels
            if self._left < 0:
                detail = f"The images have more than {self._most} pixels together."
                raise TooLarge(detail, "Send them in several parts, or raise DEEPVIS_MAX_ARCHIVE_PIXELS.")


def checked(
    items: Iterable[Found | Skipped], limits: Limits, keep: Keep | None = None, most_pixels: int | None = None
) -> Iterator[Checked | Skipped]:
    """Every file as the image it is, or skipped with the reason; in the order in which they come.

    Args:
        items: the files.
        limits: what an image may be at most.
        keep: is given the bytes of each image, in one of several threads; what it raises is raised here.
        most_pixels: that are decoded of all of them together; None: any number.

    Raises:
        TooLarge: they have more pixels; what came before was given, some at the end excepted.
    """
    budget = None if most_pixels is None else _Budget(most_pixels)
    ahead: deque[Future[Checked | Skipped]] = deque()
    try:
        for item in items:
            ahead.append(_pool().submit(_check, item, limits, keep, budget))
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


def _check(item: Found | Skipped, limits: Limits, keep: Keep | None, budget: _Budget | None) -> Checked | Skipped:
    if isinstance(item, Skipped):
        return item
    if budget is not None:
        budget.spend(decoded_pixels(item.data, limits))
    try:
        width, height = read_upload(item.data, limits).size
    except BadPicture as error:
        return Skipped(item.name, reason_of(str(error)))
    if keep is not None:
        keep(item.data)
    key = hashlib.sha256(item.data).hexdigest()
    return Checked(item.name, item.label, key, len(item.data), width, height)
