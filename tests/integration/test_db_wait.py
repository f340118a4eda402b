"""`deepvis db wait`: what is started beside the migration waits for it."""

import threading
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from db import migrate

pytestmark = pytest.mark.integration


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database without tables, named by the environment and looked at often."""
    url = f"sqlite:///{tmp_path}/deepvis.db"
    monkeypatch.setenv("DEEPVIS_DATABASE_URL", url)
    monkeypatch.setattr("cli.database.PAUSE_SECONDS", 0.05)
    return url


def wait(seconds: float) -> Result:
    return CliRunner().invoke(main, ["db", "wait", "--seconds", str(seconds)], prog_name="deepvis")


def test_it_returns_when_the_tables_are_there(url: str) -> None:
    upgrade = threading.Timer(0.3, migrate.upgrade, [url])
    upgrade.start()
    waited = wait(60)
    upgrade.join()
    assert (waited.exit_code, waited.stdout) == (0, "The database is up to date.\n")
    assert waited.stderr.splitlines()[0] == "Waiting: The database has no tables yet."
    assert waited.stderr.count("no tables yet") == 1


def test_it_does_not_give_up_early(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.database.PAUSE_SECONDS", 60.0)  # no reason to give up a minute before the time
    upgrade = threading.Timer(0.3, migrate.upgrade, [url])
    upgrade.start()
    waited = wait(5)
    upgrade.join()
    assert waited.exit_code == 0


def test_it_gives_up_and_says_what_is_missing(url: str) -> None:
    start = time.monotonic()
    waited = wait(0.2)
    assert time.monotonic() - start < 5
    assert waited.exit_code != 0
    assert waited.stderr.splitlines()[-2:] == ["Error: The database has no tables yet.", "Run `deepvis db upgrade`."]
