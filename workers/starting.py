"""What a worker looks at before it starts, and what it says about its broker."""

import logging
import math
import time
from collections.abc import Callable
from typing import Any

from celery import bootsteps

from broker.usable import check_broker, shown
from core.addresses import without_password
from core.deadlines import within
from core.errors import NotReady
from core.settings import Settings
from db.usable import check_database
from deepvis.networks.factories import read_networks_file
from store import open_store
from store.usable import check_writable

log = logging.getLogger(__name__)

CHECK_SECONDS = 10.0
DATABASE_PATIENCE_SECONDS = 60.0
RETRY_SECONDS = 2.0


def check_surroundings(settings: Settings) -> None:
    """Return once this worker can do its work. For its broker it waits as long as it takes.

    Raises:
        NotReady: the database does not answer for a minute.
        BadSetting: the networks file, the database, the picture store or the broker's URL cannot be used.
    """
    read_networks_file(settings.networks_file)
    wait_for("the database", lambda: check_database(settings.resolved_database_url), DATABASE_PATIENCE_SECONDS)
    store = open_store(settings.resolved_store_url)
    within(
        CHECK_SECONDS,
        f"the picture store {without_password(settings.resolved_store_url)}",
        lambda: check_writable(store),
    )
    wait_for("the message broker", lambda: check_broker(settings.broker_url), math.inf)


def wait_for(what: str, check: Callable[[], None], patience_seconds: float) -> None:
    """Return once `check` does; say at once that, and why, this waits, and again when the reason is another one.

    Raises:
        NotReady: it does not for `patience_seconds`.
        BadSetting: waiting does not help.
    """
    deadline = time.monotonic() + patience_seconds
    how_long = "as long as it takes" if math.isinf(patience_seconds) else f"{patience_seconds:.0f} s at most"
    said = ""
    while True:
        try:
            return within(CHECK_SECONDS, what, check)
        except NotReady as error:
            if time.monotonic() > deadline:
                raise
            if str(error) != said:
                said = str(error)
                log.warning("Waiting for %s, %s: %s", what, how_long, error)
            time.sleep(RETRY_SECONDS)


class SayConnected(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery has no types
    """Says so whenever the broker is found (again): the lines about a lost one are followed by this."""

    requires = ("celery.worker.consumer.connection:Connection",)

    def start(self, consumer: Any) -> None:
        log.info("connected to the message broker at %s", shown(consumer.connection.as_uri()))
