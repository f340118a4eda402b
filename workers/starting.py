"""What a worker looks at before it starts, and what it says about its broker."""

import logging
import time
from typing import Any

from celery import bootsteps

from broker.probe import check_broker, shown
from core.deadlines import within
from core.errors import NotReady
from core.settings import Settings
from db.probe import check_database
from store import open_store
from store.probe import check_writable

log = logging.getLogger(__name__)

CHECK_SECONDS = 10.0
DATABASE_PATIENCE_SECONDS = 60.0
RETRY_SECONDS = 2.0


def check_surroundings(settings: Settings) -> None:
    """Return once this worker can do its work, but for the broker, for which it waits as long as it takes.

    Raises:
        NotReady: the database does not answer for a minute.
        BadSetting: the database, the picture store or the broker's URL cannot be used.
    """
    wait_for_database(settings)
    store = open_store(settings.resolved_store_url)
    within(CHECK_SECONDS, f"the picture store {settings.resolved_store_url}", lambda: check_writable(store))
    note_broker(settings)


def wait_for_database(settings: Settings) -> None:
    """Return once the database answers, has this version's tables and takes changes; nothing of it is kept open.

    Raises:
        NotReady: it does not for a minute.
        BadSetting: it cannot be used as it is, or its tables are not this version's.
    """
    deadline = time.monotonic() + DATABASE_PATIENCE_SECONDS
    while True:
        try:
            within(CHECK_SECONDS, "the database", lambda: check_database(settings.resolved_database_url))
        except NotReady as error:
            left = deadline - time.monotonic()
            if left <= 0:
                raise
            log.warning("waiting for the database, %.0f seconds more: %s", left, error)
            time.sleep(RETRY_SECONDS)
        else:
            return


def note_broker(settings: Settings) -> None:
    """Say on one line when the broker does not answer: Celery tries again for ever.

    Raises:
        BadSetting: its URL is wrong, or the password.
    """
    try:
        within(CHECK_SECONDS, "the message broker", lambda: check_broker(settings.broker_url))
    except NotReady as error:
        log.warning("waiting for the message broker, for as long as it takes: %s", error)


class SayConnected(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery has no types
    """Says so whenever the broker is found (again): the lines about a lost one are followed by this."""

    requires = ("celery.worker.consumer.connection:Connection",)

    def start(self, consumer: Any) -> None:
        log.info("connected to the message broker at %s", shown(consumer.connection.as_uri()))
