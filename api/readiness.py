"""What this server needs to do its work, looked at within a time limit: a part that hangs is a part that is missing."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Literal

from flask import Flask
from pydantic import BaseModel, Field
from sqlalchemy.exc import DBAPIError

from api.services import Services
from core.errors import BadSetting, NotFound, StoreUnavailable
from db import migrate

log = logging.getLogger(__name__)

LIMIT_SECONDS = 1.2
EXTENSION = "deepvis_probes"
NO_KEY = "0" * 64
"""A key that nothing has: asking for it reaches the store and reads nothing."""

PartState = Literal["ok", "unreachable", "not migrated", "unusable", "does not answer"]


class Readiness(BaseModel):
    """Whether the server can do its work, and the state of each part it works with."""

    status: Literal["ready", "not ready"] = Field(description="ready: the database and the store are ok")
    database: PartState = Field(description="Whether it answers and has the tables that are needed")
    store: PartState = Field(description="Whether the picture store can be read")
    broker: PartState = Field(description="Whether messages can be sent; not needed to be ready")


class Look(threading.Thread):
    """One look at a part, in a thread of its own."""

    def __init__(self, name: str, check: Callable[[], PartState]) -> None:
        super().__init__(name=f"look-{name}", daemon=True)
        self._check = check
        self.state: PartState = "does not answer"

    def run(self) -> None:
        try:
            self.state = self._check()
        except Exception:
            log.exception("%s failed", self.name)
            self.state = "unusable"

    def wait(self, deadline: float) -> PartState:
        """What was seen, at the latest at `deadline` (`time.monotonic()`)."""
        self.join(max(deadline - time.monotonic(), 0))
        return self.state


class Probe:
    """Looks at one part, never twice at once: a part that hangs holds one thread, however often it is asked about."""

    def __init__(self, name: str, check: Callable[[], PartState]) -> None:
        self._name = name
        self._check = check
        self._lock = threading.Lock()
        self._look: Look | None = None
        self._told: PartState = "ok"

    def begin(self) -> Look:
        """Start a look; the one before, if it still goes on."""
        with self._lock:
            if self._look is None or not self._look.is_alive():
                self._look = Look(self._name, self._check)
                self._look.start()
            return self._look

    def tell(self, state: PartState) -> None:
        """Log a change."""
        with self._lock:
            changed, self._told = state != self._told, state
        if changed:
            log.log(logging.INFO if state == "ok" else logging.WARNING, "readiness: %s: %s", self._name, state)


def register(app: Flask, parts: Services) -> None:
    """Make the probes of an application."""
    checks: Mapping[str, Callable[[], PartState]] = {
        "database": lambda: check_database(parts),
        "store": lambda: check_store(parts),
        "broker": lambda: check_broker(parts),
    }
    app.extensions[EXTENSION] = {name: Probe(name, check) for name, check in checks.items()}


def readiness(app: Flask) -> Readiness:
    """Look at every part at once; within `LIMIT_SECONDS`."""
    probes: dict[str, Probe] = app.extensions[EXTENSION]
    deadline = time.monotonic() + LIMIT_SECONDS
    looks = {name: probe.begin() for name, probe in probes.items()}
    found = {name: look.wait(deadline) for name, look in looks.items()}
    for name, probe in probes.items():
        probe.tell(found[name])
    ready = found["database"] == "ok" and found["store"] == "ok"
    return Readiness(status="ready" if ready else "not ready", **found)


def check_database(parts: Services) -> PartState:
    """Whether the database answers and has this version's tables, or a newer one's.

    In an update the tables come first, and this server goes on with them until the new ones have taken over.
    """
    try:
        present = migrate.revision(parts.sessions.kw["bind"])
    except DBAPIError:
        return "unreachable"
    if present is None or (present != migrate.head() and migrate.known(present)):
        return "not migrated"
    return "ok"


def check_store(parts: Services) -> PartState:
    """Whether the store can be read; nothing is written."""
    try:
        parts.store.get(NO_KEY, most_bytes=0)
    except NotFound:
        return "ok"
    except (StoreUnavailable, BadSetting):
        return "unusable"
    return "ok"


def check_broker(parts: Services) -> PartState:
    """Whether a message could be sent now."""
    try:
        with parts.celery.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=LIMIT_SECONDS)
    except Exception as error:  # every transport has errors of its own
        log.debug("readiness: the broker", exc_info=error)
        return "unreachable"
    return "ok"
