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
from tests.services import Redis, free_port

pytestmark = pytest.mark.integration

SENDERS = [
    (send_describe, "demo", DESCRIBE, "control"),
    (send_plan, "01abc", PLAN, "control"),
    (send_shard, 7, SHARD, "shards"),
]


def celery_at(url: str):
    return make_celery(load_settings(broker_url=url))


@pytest.mark.parametrize(("send", "argument", "name", "queue"), SENDERS)
def test_a_message_is_json_with_one_id(redis: Redis, send, argument, name, queue):
    redis.flush()
    send(celery_at(redis.url), argument)

    with redis_client.Redis(port=redis.port) as client:
        message = json.loads(client.rpop(f"deepvis:{queue}"))
    assert message["content-type"] == "application/json"
    assert message["headers"]["task"] == name
    arguments, keywords, _ = json.loads(base64.b64decode(message["body"]))
    assert (arguments, keywords) == ([argument], {})


@pytest.mark.parametrize(("send", "argument"), [sender[:2] for sender in SENDERS])
def test_sending_without_a_broker_fails_at_once(send, argument):
    start = time.monotonic()

    with pytest.raises(NotReady, match="broker does not answer"):
        send(celery_at(f"redis://127.0.0.1:{free_port()}/0"), argument)

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
