"""Turns of background threads that may fail: logged in short, and tried again by whoever calls them next."""

import logging
import time
from collections.abc import Callable

from core.errors import NotReady
from db.outages import OUTAGES
from workers.reasons import first_line

log = logging.getLogger(__name__)


class Troubles:
    """Runs turns; an outage is one line when it begins and one when it ends, as it may last for hours."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}

    def attempt(self, what: str, act: Callable[[], None]) -> bool:
        """Whether it worked. Nothing it raises ends the thread; what nobody foresaw is logged with its traceback."""
        try:
            act()
        except Exception as error:
            self._note(what, error)
            return False
        if (since := self._since.pop(what, None)) is not None:
            log.info("%s works again after %.0f s", what, time.monotonic() - since)
        return True

    def _note(self, what: str, error: Exception) -> None:
        foreseen = isinstance(error, (*OUTAGES, NotReady, OSError))
        level = logging.DEBUG if what in self._since else logging.WARNING
        self._since.setdefault(what, time.monotonic())
        message = "%s did not work, trying again soon: %s"
        log.log(level, message, what, first_line(error), exc_info=None if foreseen else error)
