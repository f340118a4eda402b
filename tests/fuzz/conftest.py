"""The service to be examined, on either database, and real databases for state machines."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from api import create_app
from api.services import EXTENSION
from core.settings import load_settings
from tests.fuzz.examiner import Service
from tests.fuzz.seeds import plant
from tests.integration.databases import database_url, migrated_postgres, migrated_sqlite, postgres_server, sessions
from tests.services import Redis, running_redis

__all__ = ["database_url", "migrated_postgres", "migrated_sqlite", "postgres_server", "sessions"]

MakeService = Callable[..., Service]


@pytest.fixture(scope="session")
def redis() -> Iterator[Redis]:
    """For live sessions, which need one; messages stay in memory."""
    with running_redis() as server:
        yield server


@pytest.fixture
def make_service(tmp_path: Path, database_url: str, redis: Redis) -> Iterator[MakeService]:
    """Makes the service with everything in it that its addresses can name; keyword arguments are settings."""
    made = []

    def make(**changes: object) -> Service:
        given = {
            "home": tmp_path / "home",
            "broker_url": "memory://",
            "live_url": redis.url,
            "max_open_atlases": 1_000_000,
        }
        app = create_app(load_settings(**{**given, "database_url": database_url, **changes}))
        parts = app.extensions[EXTENSION]
        made.append(parts)
        return Service(app, plant(parts.sessions, parts.store))

    yield make
    for parts in made:
        parts.sessions.engine.dispose()
        parts.celery.close()
