"""Waiting for something only so long, even where its own driver would wait for ever."""

import threading
from collections.abc import Callable
from typing import TypeVar

from core.errors import NotReady

T = TypeVar("T")


def within(seconds: float, what: str, act: Callable[[], T]) -> T:
    """What `act` returns or raises, if it does so within `seconds`; `what` names whom it waits for.

    It runs in a thread of its own, which is left behind when the time is over: for checks that hold nothing.

    Raises:
        NotReady: it takes longer.
    """
    outcome: list[Callable[[], T]] = []
    thread = threading.Thread(target=lambda: outcome.append(_outcome(act)), name=f"check of {what}", daemon=True)
    thread.start()
    thread.join(seconds)
    if not outcome:
        raise NotReady(f"No answer from {what} within {seconds:g} seconds.", f"See whether {what} hangs.")
    return outcome[0]()


def _outcome(act: Callable[[], T]) -> Callable[[], T]:
    """Do it now; the result, or the error, is had by calling what this returns."""
    try:
        result = act()
    except BaseException as error:
        caught = error  # Python forgets `error` at the end of the block

        def fail() -> T:
            raise caught

        return fail
    return lambda: result
