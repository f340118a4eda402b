"""The messages: three task names, each with one id as its only argument."""

from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from broker.app import CONTROL_QUEUE, SHARD_QUEUE
from core.errors import NotReady

DESCRIBE = "deepvis.describe"
PLAN = "deepvis.plan"
SHARD = "deepvis.shard"


def send_describe(app: Celery, network_name: str) -> None:
    """Ask some worker to find the layers of a network.

    Raises:
        NotReady: the broker does not answer.
    """
    _send(app, DESCRIBE, network_name, CONTROL_QUEUE)


def send_plan(app: Celery, atlas_id: str) -> None:
    """Ask some worker to cut an atlas into shards. Raises `NotReady` as `send_describe` does."""
    _send(app, PLAN, atlas_id, CONTROL_QUEUE)


def send_shard(app: Celery, shard_id: int) -> None:
    """Ask some worker to compute a shard. Raises `NotReady` as `send_describe` does."""
    _send(app, SHARD, shard_id, SHARD_QUEUE)


def _send(app: Celery, name: str, argument: str | int, queue: str) -> None:
    try:
        app.send_task(name, args=[argument], queue=queue, ignore_result=True)
    except (OperationalError, RedisError, OSError) as error:
        raise NotReady(
            f"The message broker does not answer ({error}).",
            "Start Redis at DEEPVIS_BROKER_URL; the work is not lost, workers find it in the database.",
        ) from error
