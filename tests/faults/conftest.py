"""The fault tests use the services of the integration tests, and a fleet that most of them share."""

from collections.abc import Iterator

import pytest

from tests.faults.disk import small_disk
from tests.faults.fleet import Fleet, trial
from tests.integration.conftest import installation, redis, s3
from tests.services import running_postgres_server, running_redis

__all__ = ["installation", "redis", "s3"]


@pytest.fixture(scope="session")
def shared_fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Two workers, a Redis, a PostgreSQL, and a store on a small disk of its own where that can be made."""
    home = tmp_path_factory.mktemp("fleet")
    with running_redis() as broker, running_postgres_server() as postgres, small_disk(home / "pictures"):
        made = Fleet(home, broker, postgres, setback_seconds=0.2)
        try:
            yield made
        finally:
            made.close()


@pytest.fixture
def fleet(shared_fleet: Fleet) -> Iterator[Fleet]:
    """The shared fleet, two of whose workers are alive and well."""
    with trial(shared_fleet) as made:
        yield made
