"""What workers do in the background, where something does not answer."""

import time
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from broker.app import make_celery
from broker.messages import waiting
from core.errors import NotReady
from core.settings import load_settings
from core.specs import DeviceKind
from db import clock, dispatch, leases, probe_sets
from db.migrate import upgrade
from db.models import Shard, Share
from db.probe_models import ProbeImage
from tests.integration.probe_set_records import added, begun, image
from tests.integration.records import describe, running_atlas, shards
from tests.services import Redis, free_port
from workers.housekeeping import MOST_QUEUED, Housekeeper
from workers.ledger import Ledger
from workers.troubles import Troubles

pytestmark = pytest.mark.integration


@pytest.fixture
def ledger(tmp_path: Path):
    settings = load_settings(home=tmp_path, broker_url=f"redis://127.0.0.1:{free_port()}/0")
    upgrade(settings.resolved_database_url)
    made = Ledger(settings, "w", DeviceKind.CPU)
    yield made
    made.close()


@pytest.fixture
def housekeeper(ledger: Ledger) -> Housekeeper:
    settings = ledger._settings
    return Housekeeper(settings, ledger, make_celery(settings), DeviceKind.CPU)


@pytest.mark.parametrize("error", [TimeoutError(), ConnectionResetError("\n"), ValueError("what\nwhere")])
def test_no_error_ends_a_thread(error: Exception):
    def fail() -> None:
        raise error

    assert not Troubles().attempt("trying", fail)


def test_an_outage_is_one_line_when_it_begins_and_one_when_it_ends(caplog: pytest.LogCaptureFixture):
    def fail() -> None:
        raise TimeoutError("away")

    caplog.set_level("INFO")
    troubles = Troubles()
    for act in (fail, fail, fail, lambda: None, lambda: None):
        troubles.attempt("trying", act)

    assert [line.partition(":")[0] for line in caplog.messages] == [
        "trying did not work, trying again soon",
        "trying works again after 0 s",
    ]


def test_what_nobody_foresaw_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture):
    def fail() -> None:
        raise AttributeError("a slip")

    Troubles().attempt("trying", fail)

    assert caplog.records[0].exc_info is not None


def test_shards_whose_message_could_not_be_sent_wait_for_one_at_once(ledger: Ledger, housekeeper: Housekeeper):
    with ledger.sessions.begin() as session:
        describe(session)
        running_atlas(session)

    housekeeper._queued[DeviceKind.ANY], housekeeper._asked_at[DeviceKind.ANY] = 0, time.monotonic()
    with pytest.raises(NotReady):
        housekeeper._dispatch()

    with ledger.sessions() as session:
        assert dispatch.outstanding(session).total() == 0


def test_what_is_left_of_deleted_probe_sets_goes_in_turns(
    ledger: Ledger, housekeeper: Housekeeper, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("db.forgetting.ROWS", 2)
    kept, gone = begun(ledger.sessions, "kept"), begun(ledger.sessions, "gone")
    for set_id in (kept, gone):
        added(ledger.sessions, set_id, *(image(f"{n}") for n in range(9)))
    with ledger.sessions.begin() as session:
        probe_sets.delete(session, gone)
    housekeeper._purge()
    with ledger.sessions() as session:
        assert session.scalars(select(ProbeImage.set_id).distinct()).all() == [kept]


def test_leases_that_ran_out_are_told_with_their_atlas_and_who_lost_them(
    ledger: Ledger, housekeeper: Housekeeper, caplog: pytest.LogCaptureFixture
):
    with ledger.sessions.begin() as session:
        describe(session)
        atlas_id = running_atlas(session)
        assert leases.lease_shard(session, 1, "lost-one", -1)

    housekeeper._reap()

    [line] = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert line == f"atlas {atlas_id}: leases ran out, to be done again: shards 1 of lost workers lost-one"


def test_messages_that_count_as_lost_do_not_pile_up_behind_slow_work(tmp_path: Path, redis: Redis):
    redis.flush()
    settings = load_settings(
        home=tmp_path, broker_url=redis.url, lease_seconds=2, heartbeat_seconds=1, shard_seconds=0.1
    )
    upgrade(settings.resolved_database_url)
    ledger, celery = Ledger(settings, "w", DeviceKind.CPU), make_celery(settings)
    with ledger.sessions.begin() as session:
        describe(session)
        running_atlas(session, shards("conv", [(n % 6,) for n in range(30)]))
    housekeeper = Housekeeper(settings, ledger, celery, DeviceKind.CPU)
    wanted = dispatch.wanted({DeviceKind.CPU: 1}, DeviceKind.ANY)

    for _ in range(10):  # nobody takes any, and each time all of them are lost
        housekeeper._asked_at.clear()
        housekeeper._dispatch()
        with ledger.sessions.begin() as session:
            session.execute(update(Shard).values(enqueued_at=clock.after(clock.now(session), -100)))

    assert waiting(celery, DeviceKind.ANY) == MOST_QUEUED * wanted
    with ledger.sessions() as session:
        assert session.scalar(select(func.sum(Share.served))) == pytest.approx(10 * wanted)  # charged once, sent thrice
    ledger.close()
