"""A real S3 server for tests: moto's, on a free port of the loopback address, in a thread.

with running_s3() as s3:
    store = open_store(s3.url)
"""

import functools
import logging
import os
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from moto.s3.responses import S3Response
from moto.server import ThreadedMotoServer

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "tests", "AWS_EC2_METADATA_DISABLED": "true"}
BUCKET = "pictures"


def _one_at_a_time(*names: str) -> None:
    """Let moto answer changes one after the other: it stumbles over a put of what another put has just replaced."""
    lock = threading.RLock()

    def locked(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def answer(*given: Any) -> Any:
            with lock:
                return method(*given)

        return answer

    for name in names:
        setattr(S3Response, name, locked(getattr(S3Response, name)))


_one_at_a_time("_key_response_put", "_key_response_delete")


class S3:
    """A server with one bucket."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.endpoint = f"http://127.0.0.1:{port}"
        self.url = self.url_of(BUCKET)
        self.client = boto3.session.Session().client("s3", endpoint_url=self.endpoint, region_name="us-east-1")
        self.client.create_bucket(Bucket=BUCKET)

    def url_of(self, bucket: str, prefix: str = "deepvis", port: int | None = None) -> str:
        """The store's URL; on another `port`, as somebody in between may listen there."""
        return f"s3://{bucket}/{prefix}?endpoint=http://127.0.0.1:{port or self.port}&region=us-east-1"

    def names(self, prefix: str = "deepvis") -> list[str]:
        """The names of all objects below the prefix."""
        found = self.client.list_objects_v2(Bucket=BUCKET, Prefix=f"{prefix}/")
        return [each["Key"].removeprefix(f"{prefix}/") for each in found.get("Contents", [])]

    def set_age(self, name: str, seconds: float) -> None:
        """Let an object have been written so long ago."""
        self._object(name).last_modified = (datetime.now(UTC) - timedelta(seconds=seconds)).replace(tzinfo=None)

    def require_credentials(self, required: bool) -> None:
        """Whether credentials are looked at; if so those of the tests are wrong."""
        body = b"0" if required else b"inf"
        address = f"{self.endpoint}/moto-api/reset-auth"
        urllib.request.urlopen(urllib.request.Request(address, body, {"Content-Type": "text/plain"})).close()

    @staticmethod
    def _object(name: str) -> Any:
        return s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets[BUCKET].keys[name]


@contextmanager
def running_s3() -> Iterator[S3]:
    os.environ.update(CREDENTIALS)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        s3 = S3(server.get_host_and_port()[1])
        yield s3
        s3.client.close()
    finally:
        server.stop()
        for name in CREDENTIALS:
            os.environ.pop(name, None)
