"""A guard against the silent stall after a lost acknowledgement.

A worker that may hold one message asks for no other until that one is acknowledged. When the broker is gone at that
moment, Celery 5.7 logs that it could not acknowledge and goes on; the credit is never given back, so the worker never
asks again, and as it does not ask it never notices the lost connection either. Seen with every restart of Redis during
a task (tests/faults/test_lost_broker.py). This step of the consumer sees the contradiction, no work and no credit,
and lets Celery connect anew.
"""

import logging
from typing import Any

from celery import bootsteps
from celery.worker import state

log = logging.getLogger(__name__)

CHECK_SECONDS = 5.0


class CreditGuard(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery has no types
    """Looks at the consumer every `CHECK_SECONDS`; twice in a row without work and credit means that one was lost."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._stuck_before = False

    def register_with_event_loop(self, consumer: Any, hub: Any) -> None:
        """Start checking; Celery ends this timer with the connection it was made for."""
        self._stuck_before = False
        hub.call_repeatedly(CHECK_SECONDS, self.check, consumer)

    def check(self, consumer: Any) -> None:
        """Break the connection, which Celery mends, when the credit is lost.

        Raises:
            ConnectionResetError: it is.
        """
        stuck = not state.reserved_requests and not consumer.task_consumer.channel.qos.can_consume()
        if stuck and self._stuck_before:
            raise ConnectionResetError("an acknowledgement was lost, connecting to the broker anew")
        self._stuck_before = stuck
