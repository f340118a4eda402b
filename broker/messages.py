"""The messages: five task names, each with one id as its only argument."""

from enum import IntEnum

from amqp.exceptions import AMQPError
from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from broker.app import HIGHEST_PRIORITY, ORDERED, queue_name
from core.activation_specs import ActivationKind
from core.errors import NotReady
from core.live import LIVE_QUEUE
from core.specs import DeviceKind, Priority

DESCRIBE = "deepvis.describe"
PLAN = "deepvis.plan"
SHARD = "deepvis.shard"
LIVE = "deepvis.live"
SEARCH = "deepvis.search"
ACTIVATIONS = "deepvis.activations"


class Urgency(IntEnum):
    """Which message is taken first, the lowest number; kombu keeps one Redis list for each of 0, 3, 6 and 9."""

    CONTROL = 0  # a plan or a description: others wait for it; a search or one picture's activations: somebody does
    INTERACTIVE = 3
    BATCH = 6


def send_describe(app: Celery, network_name: str) -> None:
    """Ask some worker to find the layers of a network.

    Raises:
        NotReady: the broker does not answer.
    """
    _send(app, DESCRIBE, network_name, DeviceKind.ANY, Urgency.CONTROL)


def send_plan(app: Celery, atlas_id: str, device_kind: DeviceKind = DeviceKind.ANY) -> None:
    """Ask some worker on such a device, whose speed it measures, to cut an atlas into shards.

    Raises:
        NotReady: the broker does not answer.
    """
    _send(app, PLAN, atlas_id, device_kind, Urgency.CONTROL)


def send_shard(
    app: Celery,
    shard_id: int,
    device_kind: DeviceKind = DeviceKind.ANY,
    priority: Priority = Priority.BATCH,
) -> None:
    """Ask some worker on such a device to compute a shard.

    Raises:
        NotReady: the broker does not answer.
    """
    _send(app, SHARD, shard_id, device_kind, Urgency[priority.name])


def send_live(app: Celery, session_id: str) -> None:
    """Ask some live worker to serve a live session, and whoever else waits.

    Raises:
        NotReady: the broker does not answer.
    """
    _send_to(app, LIVE, session_id, LIVE_QUEUE, Urgency.CONTROL)


def send_search(app: Celery, search_id: str) -> None:
    """Ask some worker which units somebody's picture excites.

    Raises:
        NotReady: the broker does not answer.
    """
    _send(app, SEARCH, search_id, DeviceKind.ANY, Urgency.CONTROL)


def send_activations(app: Celery, job_id: str, kind: ActivationKind = ActivationKind.PICTURE) -> None:
    """Ask some worker for the activations of a picture, or of a video, which takes longer.

    Raises:
        NotReady: the broker does not answer.
    """
    urgency = Urgency.CONTROL if kind is ActivationKind.PICTURE else Urgency.INTERACTIVE
    _send(app, ACTIVATIONS, job_id, DeviceKind.ANY, urgency)


def waiting(app: Celery, kind: DeviceKind) -> int:
    """How many messages the queue of that kind of device holds, whatever their priority.

    Raises:
        NotReady: the broker does not answer.
    """
    try:
        with app.connection_for_read() as connection, connection.channel() as channel:
            # Not passively: kombu looks for the key of a Redis queue without the prefix, and finds none.
            declared = channel.queue_declare(queue_name(kind), durable=True, auto_delete=False, arguments=ORDERED)
            return int(declared.message_count)
    except (OperationalError, RedisError, AMQPError, OSError) as error:
        raise _away(error) from error


def _send(app: Celery, name: str, argument: str | int, kind: DeviceKind, urgency: Urgency) -> None:
    _send_to(app, name, argument, queue_name(kind), urgency)


def _send_to(app: Celery, name: str, argument: str | int, queue: str, urgency: Urgency) -> None:
    try:
        app.send_task(name, args=[argument], queue=queue, priority=_priority(app, urgency))
    except (OperationalError, RedisError, OSError) as error:
        raise _away(error) from error


def _away(error: Exception) -> NotReady:
    remedy = "Start it at DEEPVIS_BROKER_URL; the work is not lost, workers find it in the database."
    return NotReady(f"The message broker does not answer ({error}).", remedy)


def _priority(app: Celery, urgency: Urgency) -> int:
    """The number for the broker: RabbitMQ takes the highest first, Redis the lowest."""
    is_redis = "global_keyprefix" in app.conf.broker_transport_options
    return int(urgency) if is_redis else HIGHEST_PRIORITY - urgency
