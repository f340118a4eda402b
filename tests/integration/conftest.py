"""Real services for the integration tests: a Redis for the session, an installation for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.databases import database_url, migrated_postgres, migrated_sqlite, postgres_server, sessions
from tests.s3 import S3, running_s3
from tests.services import Installation, Redis, running_redis

__all__ = ["database_url", "migrated_postgres", "migrated_sqlite", "postgres_server", "sessions"]


@pytest.fixture(scope="session")
def redis() -> Iterator[Redis]:
    """A Redis that every test of the session may use; empty it with the `installation` fixture."""
    with running_redis() as server:
        yield server


@pytest.fixture(scope="session")
def s3() -> Iterator[S3]:
    """An S3 server that every test of the session may use, each with a prefix of its own."""
    with running_s3() as server:
        yield server


@pytest.fixture
def installation(tmp_path: Path, redis: Redis) -> Iterator[Installation]:
    """SQLite, a folder store, and an empty Redis."""
    redis.flush()
    made = Installation(tmp_path / "home", redis.url)
    yield made
    made.close()
