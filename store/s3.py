"""A picture store in a bucket of any service that speaks S3: s3://bucket/prefix.

Names are flat, prefix/abcd...: a bucket has no folders, and services spread load over the first characters of names,
which are evenly distributed here.
"""

import io
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any

import boto3
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

from core.errors import BadSetting, StoreUnavailable
from store.base import REFRESH_SECONDS, Entry, absent, is_key, key_of

TRIES = 3
CONNECT_SECONDS = 2
READ_SECONDS = 5
"""An unreachable service is given up within 10 s in all, one that accepts and is silent within 20 s."""
PART_BYTES = 64 * 1024 * 1024
"""What is larger is sent in parts of this size, each tried again by itself."""
MARK_SECONDS = 120.0
"""A mark of a deletion that is older was left by a process that was killed: a deletion is two requests."""
_CONNECTIONS = 32
_AT_ONCE = 8
"""Objects of one `put_all` that are under way together: each takes the time of a few answers."""
_MEDIA_TYPES = {b"\x89PNG": "image/png", b"RIFF": "image/webp"}


@dataclass(frozen=True)
class Bucket:
    """Where an S3 store is. Credentials come from the surroundings, as for every AWS tool."""

    name: str
    prefix: str = ""  # without slashes at its ends
    endpoint: str | None = None  # None: what AWS_ENDPOINT_URL_S3 or AWS's own configuration says
    region: str | None = None
    path_style: bool = False  # the bucket's name in the path, not in the host

    def __str__(self) -> str:
        where = f" at {self.endpoint}" if self.endpoint else ""
        return f"s3://{self.name}/{self.prefix}".rstrip("/") + where


class S3Store:
    """Keeps each picture in an object. One client serves all threads."""

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket
        self._start = f"{bucket.prefix}/" if bucket.prefix else ""

    def put(self, data: bytes) -> str:
        key = key_of(data)
        with self._usable("written to"):
            age = self._age(self._name(key))
            if age is None:
                self._write(key, data)
            elif age > REFRESH_SECONDS:
                self._refresh(key, data)
        return key

    def put_all(self, datas: Sequence[bytes]) -> list[str]:
        if len(datas) <= 1:
            return [self.put(data) for data in datas]
        with ThreadPoolExecutor(min(_AT_ONCE, len(datas)), "put") as threads:
            return list(threads.map(self.put, datas))

    def get(self, key: str, *, most_bytes: int | None = None) -> bytes:
        if not is_key(key):
            raise absent(key)
        with self._usable("read"):
            try:
                answer = self._client.get_object(Bucket=self.bucket.name, Key=self._name(key))
            except ClientError as error:
                if _code(error) == "NoSuchKey":
                    raise absent(key) from None
                raise
            with answer["Body"] as body:
                if most_bytes is not None and answer["ContentLength"] > most_bytes:
                    raise absent(key)
                data: bytes = body.read()
        return data

    def exists(self, key: str) -> bool:
        with self._usable("read"):
            return is_key(key) and self._head(self._name(key)) is not None

    def delete(self, key: str, *, unless_since: datetime | None = None) -> bool:
        with self._usable("written to"):
            if not is_key(key) or not self._older(key, unless_since):
                return False
            if unless_since is None:
                self._remove(self._name(key))
                return True
            return self._delete_marked(key, unless_since)

    def entries(self, prefix: str = "") -> Iterator[Entry]:
        with self._usable("listed"):
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self.bucket.name, Prefix=self._name(prefix)):
                for found in page.get("Contents", ()):
                    key = found["Key"].removeprefix(self._start)
                    if is_key(key):
                        yield Entry(key, found["LastModified"].astimezone(UTC))

    # --- deleting what is old while others may be putting it again ---------------------

    def _delete_marked(self, key: str, unless_since: datetime) -> bool:
        """Delete what is old under a mark that says so, judged once the mark is there.

        S3 cannot delete on condition of age. A put that refreshes old bytes looks for the mark after its write: either
        its write was seen here, or it sees the mark, waits for its end and looks whether its bytes are still there.
        """
        if not self._mark(key):
            return False  # somebody else is deleting it
        try:
            if not self._older(key, unless_since):
                return False
            self._remove(self._name(key))
            return True
        finally:
            self._remove(self._mark_name(key))

    def _mark(self, key: str) -> bool:
        """Set the mark, unless somebody else's stands."""
        mark = self._mark_name(key)
        left = self._age(mark)
        if left is not None and left > MARK_SECONDS:
            self._remove(mark)
        try:
            self._client.put_object(Bucket=self.bucket.name, Key=mark, Body=b"", IfNoneMatch="*")
        except ClientError as error:
            if _code(error) in {"PreconditionFailed", "ConditionalRequestConflict"}:
                return False
            raise
        return True

    def _refresh(self, key: str, data: bytes) -> None:
        self._write(key, data)
        deadline = time.monotonic() + MARK_SECONDS
        while self._marked(key) and time.monotonic() < deadline:
            time.sleep(0.1)
        if self._head(self._name(key)) is None:
            self._write(key, data)

    def _marked(self, key: str) -> bool:
        age = self._age(self._mark_name(key))
        return age is not None and age <= MARK_SECONDS

    def _older(self, key: str, moment: datetime | None) -> bool:
        """Whether the object is there and was written before `moment`."""
        head = self._head(self._name(key))
        return head is not None and (moment is None or head["LastModified"] < moment)

    def _age(self, name: str) -> float | None:
        """Seconds since the object was written, by the service's own clock; None if there is none."""
        head = self._head(name)
        if head is None:
            return None
        now = parsedate_to_datetime(head["ResponseMetadata"]["HTTPHeaders"]["date"])
        return float((now - head["LastModified"]).total_seconds())

    # --- single requests -----------------------------------------------------------------

    def _name(self, key: str) -> str:
        return f"{self._start}{key}"

    def _mark_name(self, key: str) -> str:
        return f"{self._start}deleting/{key}"

    def _head(self, name: str) -> dict[str, Any] | None:
        try:
            head: dict[str, Any] = self._client.head_object(Bucket=self.bucket.name, Key=name)
        except ClientError as error:
            if _code(error) == "404":
                return None
            raise
        return head

    def _write(self, key: str, data: bytes) -> None:
        where = {"Bucket": self.bucket.name, "Key": self._name(key)}
        content_type = _MEDIA_TYPES.get(data[:4], "application/octet-stream")
        if len(data) <= PART_BYTES:
            self._client.put_object(**where, Body=data, ContentType=content_type)
            return
        parts = TransferConfig(multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES, use_threads=False)
        extra = {"ContentType": content_type}
        self._client.upload_fileobj(io.BytesIO(data), **where, ExtraArgs=extra, Config=parts)

    def _remove(self, name: str) -> None:
        self._client.delete_object(Bucket=self.bucket.name, Key=name)

    @cached_property
    def _client(self) -> Any:
        config = Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            retries={"mode": "standard", "total_max_attempts": TRIES},
            max_pool_connections=_CONNECTIONS,
            s3={"addressing_style": "path"} if self.bucket.path_style else {},
        )
        session = boto3.session.Session()  # the default one is not to be shared by threads
        where = {"endpoint_url": self.bucket.endpoint, "region_name": self.bucket.region}
        try:
            return session.client("s3", config=config, **where)
        except ValueError as error:
            raise BadSetting(
                f"The address of the picture store is wrong: {error}.", "Mend DEEPVIS_STORE_URL."
            ) from error

    @contextmanager
    def _usable(self, how: str) -> Iterator[None]:
        try:
            yield
        except (BotoCoreError, Boto3Error, ClientError) as error:
            what = f"The picture store {self.bucket} cannot be {how}: {_reason(error)}"
            raise StoreUnavailable(f"{what.rstrip('.')}.", _remedy(error)) from error


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _reason(error: Exception) -> str:
    if isinstance(error, ClientError):
        return f"{error.response.get('Error', {}).get('Message') or 'refused'} ({_code(error)})"
    return str(error)


def _remedy(error: Exception) -> str:
    if isinstance(error, (NoCredentialsError, PartialCredentialsError)):
        return (
            "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or any other source of credentials that AWS tools read."
        )
    code = _code(error) if isinstance(error, ClientError) else ""
    if code in {"403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"}:
        return "Check the credentials; they must allow to list the bucket and to get, put and delete objects in it."
    if code == "NoSuchBucket":
        return "Make the bucket first, or mend DEEPVIS_STORE_URL."
    return "Check DEEPVIS_STORE_URL and that the service runs."
