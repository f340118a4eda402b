"""Readiness: every part's state, in time, whatever hangs."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from api.readiness import EXTENSION, LIMIT_SECONDS, Look, PartState, Probe
from tests.unit.api.conftest import Front, MakeFront


@pytest.fixture
def stuck() -> Iterator[threading.Event]:
    """Set at the end, so that what hangs ends with the test."""
    event = threading.Event()
    yield event
    event.set()


def hang(front: Front, name: str, event: threading.Event) -> list[int]:
    """Make one of the parts hang; how often it was looked at."""
    looks: list[int] = []

    def check() -> PartState:
        looks.append(1)
        event.wait(60)
        return "ok"

    front.app.extensions[EXTENSION][name] = Probe(name, check)
    return looks


@pytest.mark.parametrize(("part", "status"), [("database", 503), ("store", 503), ("broker", 200)])
def test_a_part_that_hangs_is_missing_within_two_seconds(
    front: Front, stuck: threading.Event, part: str, status: int
) -> None:
    looks = hang(front, part, stuck)
    for _ in range(2):
        start = time.monotonic()
        found = front.client.get("/readyz")
        assert time.monotonic() - start < LIMIT_SECONDS + 3  # a busy machine adds to it; what hangs does for a minute
        assert (found.status_code, found.json[part]) == (status, "does not answer")
        assert [state for name, state in found.json.items() if name not in {part, "status"}] == ["ok", "ok"]
    assert looks == [1]  # and it holds one thread, however often it is asked about


def test_a_part_that_answers_again_is_found(front: Front, stuck: threading.Event) -> None:
    hang(front, "store", stuck)
    assert front.client.get("/readyz").json["store"] == "does not answer"
    stuck.set()
    look: Look = front.app.extensions[EXTENSION]["store"].begin()
    look.join(10)
    assert front.client.get("/readyz").status_code == 200


def test_changes_are_logged_once(front: Front, caplog: pytest.LogCaptureFixture) -> None:
    states: list[PartState] = ["unusable", "unusable", "ok", "ok"]
    front.app.extensions[EXTENSION]["store"] = Probe("store", lambda: states.pop(0))
    caplog.set_level("INFO")
    for _ in range(4):
        front.client.get("/readyz")
    assert [r.getMessage() for r in caplog.records if r.name == "api.readiness"] == [
        "readiness: store: unusable",
        "readiness: store: ok",
    ]


def test_a_check_that_fails_is_a_part_that_cannot_be_used(front: Front) -> None:
    def check() -> PartState:
        raise RuntimeError("what nobody foresaw")

    front.app.extensions[EXTENSION]["store"] = Probe("store", check)
    assert front.client.get("/readyz").json["store"] == "unusable"


@pytest.mark.parametrize(("revision", "status", "state"), [("0001", 503, "not migrated"), ("9999", 200, "ok")])
def test_older_tables_are_too_old_and_newer_ones_are_no_reason_to_stop(
    front: Front, revision: str, status: int, state: str
) -> None:
    with front.services.sessions.begin() as session:
        session.execute(text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})
    found = front.client.get("/readyz")
    assert (found.status_code, found.json["database"]) == (status, state)


def test_a_store_that_cannot_be_read(make_front: MakeFront, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    front = make_front(store_url=(tmp_path / "file" / "pictures").as_uri())
    found = front.client.get("/readyz")
    assert (found.status_code, found.json["store"]) == (503, "unusable")


def test_without_a_broker_it_is_ready(make_front: MakeFront) -> None:
    front = make_front()
    front.services.celery.conf.update(broker_url="redis://127.0.0.1:1/0", broker_read_url="", broker_write_url="")
    found = front.client.get("/readyz")
    assert (found.status_code, found.json["broker"]) == (200, "unreachable")


def test_it_needs_no_token_and_tells_no_reasons(closed: Front) -> None:
    assert set(closed.client.get("/readyz").json) == {"status", "database", "store", "broker"}


def test_the_limit_leaves_room_within_two_seconds() -> None:
    assert LIMIT_SECONDS <= 1.5
