"""Real databases for tests: every test that asks for `sessions` runs on SQLite and on PostgreSQL."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from db.migrate import upgrade
from db.models import Base
from db.session import Sessions, make_engine, make_sessions
from tests.conftest import require_part
from tests.services import running_postgres

BACKENDS = ("sqlite", "postgresql")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of a PostgreSQL server's own empty database; nothing is kept on disk longer than the tests."""
    require_part("postgresql")
    with running_postgres() as url:
        yield url


@pytest.fixture(scope="session")
def migrated_postgres(postgres_server: str) -> str:
    """URL of a PostgreSQL database with the tables in it; every test empties it."""
    upgrade(postgres_server)
    return postgres_server


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with the tables in it, to be copied."""
    path = tmp_path_factory.mktemp("database") / "template.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(params=BACKENDS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a database with this version's tables and no rows."""
    if request.param == "sqlite":
        path = tmp_path / "test.db"
        shutil.copy(request.getfixturevalue("migrated_sqlite"), path)
        return f"sqlite:///{path}"
    url: str = request.getfixturevalue("migrated_postgres")
    empty(url)
    return url


@pytest.fixture
def sessions(database_url: str) -> Iterator[Sessions]:
    """Sessions of a database with this version's tables and no rows."""
    engine = make_engine(database_url)
    yield make_sessions(engine)
    engine.dispose()


def empty(url: str) -> None:
    """Delete every row of the PostgreSQL database at `url`."""
    engine = make_engine(url)
    names = ", ".join(f'"{table.name}"' for table in Base.metadata.sorted_tables)
    with engine.begin() as connection:
        connection.execute(text(f"TRUNCATE {names} RESTART IDENTITY CASCADE"))
    engine.dispose()
