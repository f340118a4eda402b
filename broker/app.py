"""The Celery application, configured so that a broker or a worker may die at any moment.

Every value is explained in docs/decisions/broker-settings.md. The database is the truth and a message is a hint:
nothing here is needed for correctness, all of it for recovering quickly and never stalling silently.
"""

from typing import Any, Literal
from urllib.parse import urlsplit

from celery import Celery
from kombu.entity import Queue

from broker.tls import tls_options
from core.live import LIVE_QUEUE
from core.settings import Settings
from core.specs import DeviceKind

HIGHEST_PRIORITY = 9
ORDERED = {"x-max-priority": HIGHEST_PRIORITY}
"""What makes a queue of RabbitMQ's obey priorities; with Redis kombu keeps a list for each."""
HARD_LIMIT_MARGIN_SECONDS = 60.0
"""Between the soft limit, at which a task can still say why it failed, and the hard one, at which it is killed."""
VISIBILITY_FACTOR = 3
"""A message that is not acknowledged within this many hard limits is delivered again."""


def make_celery(settings: Settings) -> Celery:
    """A Celery application for `settings.broker_url`; connects to nothing yet."""
    app = Celery("deepvis", broker=settings.broker_url, set_as_current=False)
    app.conf.update(**_messages(), **_broker(settings), **_worker(settings))
    return app


def queue_name(kind: DeviceKind) -> str:
    """The queue of what workers on devices of that kind may take; those of any kind take from "any" too."""
    return f"deepvis.{kind}"


def queues_of(kind: DeviceKind) -> tuple[str, ...]:
    """The queues that a worker on a device of that kind empties."""
    return queue_name(DeviceKind.ANY), queue_name(kind)


def transport(settings: Settings) -> Literal["redis", "amqp"]:
    """The kind of broker that the URL names; what is neither is treated as Redis is."""
    return "amqp" if urlsplit(settings.broker_url).scheme in {"amqp", "amqps", "pyamqp"} else "redis"


def _messages() -> dict[str, Any]:
    """What travels: JSON, without results, acknowledged when done, sent to declared queues only."""
    return {
        "accept_content": ["json"],
        "task_serializer": "json",
        "task_ignore_result": True,
        "task_store_errors_even_if_ignored": False,
        "result_backend": None,
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "task_queues": [*(_queue(queue_name(kind)) for kind in DeviceKind), _queue(LIVE_QUEUE)],
        "task_create_missing_queues": False,
        "task_default_queue": queue_name(DeviceKind.ANY),
        # A producer gives up after about two seconds: the database already has the wish, a worker will notice.
        "task_publish_retry": True,
        "task_publish_retry_policy": {"max_retries": 1, "interval_start": 0.1, "interval_step": 0.1},
    }


def _queue(name: str) -> Queue:
    return Queue(name, queue_arguments=ORDERED)  # type: ignore[no-untyped-call]  # kombu has no types


def _broker(settings: Settings) -> dict[str, Any]:
    """The connection: every wait has an end, and a worker tries again for ever."""
    return {
        "broker_use_ssl": tls_options(settings.broker_url),
        "broker_connection_timeout": 2.0,
        "broker_connection_retry": True,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_heartbeat": 10,  # RabbitMQ's own; a connection that is silent for two of them is lost
        "broker_transport_options": _amqp() if transport(settings) == "amqp" else _redis(settings),
    }


def _redis(settings: Settings) -> dict[str, Any]:
    hard_limit = settings.task_seconds + HARD_LIMIT_MARGIN_SECONDS
    return {
        "global_keyprefix": "deepvis:",
        "visibility_timeout": VISIBILITY_FACTOR * hard_limit,
        # Every worker looks for what others left unacknowledged for longer than that. Nothing waits for it (the
        # database notices the dead much sooner), and hundreds of workers that look every second are a load.
        "unacked_restore_interval": 60,
        "unacked_restore_throttle": 1,
        "socket_connect_timeout": 2.0,
        "socket_timeout": 2.0,
        "socket_keepalive": True,
        "health_check_interval": 10,
    }


def _amqp() -> dict[str, Any]:
    # A publisher hears from the broker that it has the message, or that it could not take it.
    return {"confirm_publish": True, "read_timeout": 10.0, "write_timeout": 10.0}


def _worker(settings: Settings) -> dict[str, Any]:
    """One prefork child that holds one message; nothing that needs a second look at the broker."""
    return {
        "worker_pool": "prefork",
        "worker_concurrency": 1,
        "worker_prefetch_multiplier": 1,
        "task_soft_time_limit": settings.task_seconds,
        "task_time_limit": settings.task_seconds + HARD_LIMIT_MARGIN_SECONDS,
        "worker_proc_alive_timeout": 60.0,
        # Only for whoever watches with Flower: they cost messages, and commands could revoke what the database holds.
        "worker_send_task_events": settings.celery_events,
        "task_send_sent_event": settings.celery_events,
        "worker_enable_remote_control": settings.celery_events,
        # The child keeps computing through a lost connection: its lease is in the database, not in the broker.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_redirect_stdouts": False,
    }
