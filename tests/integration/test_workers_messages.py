"""What travels through the broker, and what a sender notices when there is none."""

import base64
import json
import os
import signal
import time

import pytest
import redis as redis_client

from broker.app import make_celery
from broker.messages import DESCRIBE, PLAN, SHARD, send_describe, send_plan, send_shard
from core.errors import NotReady
from core.settings import load_settings
from core.specs import DeviceKind, Priority
from tests.services import Redis, free_port

pytestmark = pytest.mark.integration

SEPARATOR = "\x06\x16"
"""Between a queue's name and a priority, in the names of kombu's Redis lists."""
SENDERS = [
    (send_describe, ("demo",), DESCRIBE, "deepvis.any"),
    (send_plan, ("01abc", DeviceKind.GPU), PLAN, "deepvis.gpu"),
    (send_shard, (7, DeviceKind.CPU, Priority.INTERACTIVE), SHARD, f"deepvis.cpu{SEPARATOR}3"),
    (send_shard, (7,), SHARD, f"deepvis.any{SEPARATOR}6"),
]


def celery_at(url: str):
    return make_celery(load_settings(broker_url=url))


@pytest.mark.parametrize(("send", "arguments", "name", "queue"), SENDERS)
def test_a_message_is_json_with_one_id(redis: Redis, send, arguments, name, queue):
    redis.flush()
    send(celery_at(redis.url), *arguments)

    with redis_client.Redis(port=redis.port) as client:
        message = json.loads(client.rpop(f"deepvis:{queue}"))
    assert message["content-type"] == "application/json"
    assert message["headers"]["task"] == name
    sent, keywords, _ = json.loads(base64.b64decode(message["body"]))
    assert (sent, keywords) == ([arguments[0]], {})


@pytest.mark.parametrize(("send", "arguments"), [sender[:2] for sender in SENDERS])
def test_sending_without_a_broker_fails_at_once(send, arguments):
    start = time.monotonic()

    with pytest.raises(NotReady, match="broker does not answer"):
        send(celery_at(f"redis://127.0.0.1:{free_port()}/0"), *arguments)

    assert time.monotonic() - start < 3


def test_sending_to_a_frozen_broker_fails_within_seconds(redis: Redis):
    celery = celery_at(redis.url)
    send_shard(celery, 1)
    os.kill(redis.process.pid, signal.SIGSTOP)
    try:
        start = time.monotonic()
        with pytest.raises(NotReady):
            send_shard(celery, 2)
        assert time.monotonic() - start < 10
    finally:
        os.kill(redis.process.pid, signal.SIGCONT)
