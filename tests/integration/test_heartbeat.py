"""The heartbeat's turns where something does not answer."""

from pathlib import Path

import pytest

from broker.app import make_celery
from core.errors import NotReady
from core.settings import load_settings
from core.specs import DeviceKind
from db import dispatch
from db.migrate import upgrade
from tests.integration.records import describe, running_atlas, worker_beat
from tests.services import free_port
from workers.heartbeat import Heartbeat
from workers.held import HeldLeases
from workers.ledger import Ledger
from workers.stopping import StopFlag

pytestmark = pytest.mark.integration


@pytest.fixture
def ledger(tmp_path: Path):
    settings = load_settings(home=tmp_path, broker_url=f"redis://127.0.0.1:{free_port()}/0")
    upgrade(settings.resolved_database_url)
    made = Ledger(settings, "w", DeviceKind.CPU)
    yield made
    made.close()


@pytest.fixture
def heartbeat(ledger: Ledger) -> Heartbeat:
    settings = ledger._settings
    return Heartbeat(settings, ledger, make_celery(settings), HeldLeases(StopFlag()), worker_beat)


@pytest.mark.parametrize("error", [TimeoutError(), ConnectionResetError("\n"), ValueError("what\nwhere")])
def test_no_error_ends_the_thread(heartbeat: Heartbeat, error: Exception):
    def fail() -> None:
        raise error

    heartbeat._try("trying", fail)


def test_an_outage_is_one_line_when_it_begins_and_one_when_it_ends(
    heartbeat: Heartbeat, caplog: pytest.LogCaptureFixture
):
    def fail() -> None:
        raise TimeoutError("away")

    caplog.set_level("INFO")
    for act in (fail, fail, fail, lambda: None, lambda: None):
        heartbeat._try("trying", act)

    assert [line.partition(":")[0] for line in caplog.messages] == [
        "trying did not work, trying again soon",
        "trying works again after 0 s",
    ]


def test_shards_whose_message_could_not_be_sent_wait_for_one_at_once(ledger: Ledger, heartbeat: Heartbeat):
    with ledger.sessions.begin() as session:
        describe(session)
        running_atlas(session)

    with pytest.raises(NotReady):
        heartbeat._dispatch()

    with ledger.sessions() as session:
        assert dispatch.outstanding(session).total() == 0
