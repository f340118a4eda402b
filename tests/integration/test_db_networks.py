"""Commands and reads of networks, on SQLite and PostgreSQL."""

import logging
import time

import pytest
from sqlalchemy import select, update

from core.errors import Conflict, NotReady, UnknownNetwork
from core.specs import NetworkSource
from db import clock, networks
from db.models import Layer, Network, NetworkState
from db.queries.networks import get_network, list_networks
from db.session import Sessions, make_engine, make_sessions
from tests.integration.databases import empty
from tests.integration.racing import race
from tests.integration.records import SOURCE, describe, info

pytestmark = pytest.mark.integration


def test_catalogue_is_known_by_name_and_may_be_synced_again(sessions: Sessions) -> None:
    other = NetworkSource(name="alexnet@random", kind="torchvision", builder="alexnet", weights="random")
    for _ in range(2):
        with sessions.begin() as session:
            networks.sync_catalogue(session, [SOURCE, other])
    with sessions() as session:
        page = list_networks(session)
    assert [(n.name, n.state, n.layer_count) for n in page.items] == [
        ("alexnet@random", "registered", 0),
        ("tiny", "registered", 0),
    ]


def test_catalogue_changes_a_source_only_while_its_weights_are_open(
    sessions: Sessions, caplog: pytest.LogCaptureFixture
) -> None:
    changed = SOURCE.model_copy(update={"builder": "other"})
    with sessions.begin() as session:
        networks.sync_catalogue(session, [SOURCE])
        networks.sync_catalogue(session, [changed])
        assert networks.find(session, "tiny").source["builder"] == "other"
        describe(session, info(changed))
    with sessions.begin() as session, caplog.at_level(logging.WARNING):
        networks.sync_catalogue(session, [SOURCE])
        assert networks.find(session, "tiny").source["builder"] == "other"
    assert "already registered" in caplog.text
    with sessions.begin() as session, pytest.raises(Conflict, match="another source"):
        networks.register(session, SOURCE)


def test_unknown_network_answers_with_the_nearest(sessions: Sessions) -> None:
    with sessions.begin() as session:
        describe(session)
    with sessions() as session, pytest.raises(UnknownNetwork, match="'tiny'"):
        get_network(session, "tinny")


def test_description_is_asked_for_once_until_it_is_overdue(sessions: Sessions) -> None:
    with sessions.begin() as session:
        networks.register(session, SOURCE)
        assert networks.request_description(session, "tiny")
    with sessions.begin() as session:
        assert not networks.request_description(session, "tiny")
        assert networks.take_undescribed(session, stale_seconds=60) == []
        assert networks.take_undescribed(session, stale_seconds=-1) == ["tiny"]
        overdue = clock.after(clock.now(session), -networks.DESCRIPTION_SECONDS - 1)
        session.execute(update(Network).values(requested_at=overdue))
        session.expire_all()
        assert networks.request_description(session, "tiny")
        describe(session)
        assert not networks.request_description(session, "tiny")
        assert networks.take_undescribed(session, stale_seconds=-1) == []


def test_description_is_saved_once_and_for_ever(sessions: Sessions) -> None:
    for _ in range(2):
        with sessions.begin() as session:
            describe(session)
    with sessions.begin() as session, pytest.raises(Conflict, match="new name"):
        networks.save_description(session, "tiny", info(weights="b"))
    with sessions.begin() as session:
        networks.fail_description(session, "tiny", "too late")
    with sessions() as session:
        assert len(session.scalars(select(Layer)).all()) == 3
        network = get_network(session, "tiny")
    assert network.state == NetworkState.DESCRIBED
    assert network.layers == info().layers
    assert (network.layer_count, network.unit_count, network.parameters) == (3, 13, 1234)
    assert (network.input_shape, network.mean, network.labels) == ((3, 8, 8), (0.5, 0.5, 0.5), info().labels)


def test_failed_description_may_be_tried_again(sessions: Sessions) -> None:
    with sessions.begin() as session:
        networks.register(session, SOURCE)
        networks.request_description(session, "tiny")
        networks.fail_description(session, "tiny", "no such module")
    with sessions() as session:
        assert get_network(session, "tiny").error == "no such module"
    with sessions.begin() as session:
        assert networks.request_description(session, "tiny")
    with sessions() as session:
        assert get_network(session, "tiny").error is None


def test_networks_are_searched_and_paged(sessions: Sessions) -> None:
    names = ["ResNet18", "alexnet", "resnet50", "tiny", "x_100%"]
    with sessions.begin() as session:
        for name in names:
            networks.register(session, SOURCE.model_copy(update={"name": name.replace("%", "-")}))
        describe(session)
    with sessions() as session:
        assert {n.name for n in list_networks(session, q="RESNET").items} == {"ResNet18", "resnet50"}
        assert list_networks(session, q="%").items == ()
        assert [n.name for n in list_networks(session, described_only=True).items] == ["tiny"]
        seen, cursor = [], None
        while True:
            page = list_networks(session, limit=2, cursor=cursor)
            seen += [n.name for n in page.items]
            if (cursor := page.next_cursor) is None:
                break
    assert len(seen) == 5
    assert len(set(seen)) == 5


def test_a_network_that_ends_its_workers_is_given_up_and_may_be_asked_for_again(sessions: Sessions) -> None:
    with sessions.begin() as session:
        networks.register(session, SOURCE)
        assert networks.request_description(session, "tiny")
    for expected in (True, True, True, False):
        with sessions.begin() as session:
            assert networks.begin_description(session, "tiny", 3) is expected
    with sessions.begin() as session:
        network = networks.find(session, "tiny")
        assert (network.state, network.attempts) == (NetworkState.FAILED, 3)
        assert "ended its worker 3 times" in (network.error or "")
        assert networks.request_description(session, "tiny")
        assert networks.begin_description(session, "tiny", 3)
        describe(session)
        assert not networks.begin_description(session, "tiny", 3)


def test_before_any_worker_was_started_nothing_is_unknown_but_all_is_not_ready(sessions: Sessions) -> None:
    with sessions() as session, pytest.raises(NotReady, match="deepvis worker"):
        networks.find(session, "demo")


def test_a_description_saved_while_it_is_asked_for_again_stays(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both read the network before either writes, where nothing keeps them apart."""
    with sessions.begin() as session:
        networks.register(session, SOURCE)
    now = clock.now
    monkeypatch.setattr(clock, "now", lambda session: (time.sleep(0.2), now(session))[1])

    def ask() -> None:
        with sessions.begin() as session:
            networks.request_description(session, "tiny")

    def save() -> None:
        with sessions.begin() as session:
            networks.save_description(session, "tiny", info())

    race([save, ask, ask])
    with sessions() as session:
        network = get_network(session, "tiny")
    assert (network.state, network.layer_count) == (NetworkState.DESCRIBED, 3)


def test_a_network_asked_for_again_keeps_the_layers_that_it_has(sessions: Sessions) -> None:
    with sessions.begin() as session:
        describe(session)
        session.execute(update(Network).values(state=NetworkState.DESCRIBING))
    with sessions.begin() as session:
        networks.save_description(session, "tiny", info())
    with sessions() as session:
        network = get_network(session, "tiny")
    assert (network.state, network.layer_count) == (NetworkState.DESCRIBED, 3)


def test_weights_settled_since_the_catalogue_was_read_keep_their_source(migrated_postgres: str) -> None:
    """On PostgreSQL; SQLite has one writer at a time."""
    empty(migrated_postgres)
    engine = make_engine(migrated_postgres)
    sessions = make_sessions(engine)
    with sessions.begin() as session:
        networks.register(session, SOURCE)
    with sessions.begin() as early:
        known = networks.find(early, "tiny")
        with sessions.begin() as session:
            describe(session)
        assert known.weights_hash is None
        with pytest.raises(Conflict, match="another source"):
            networks.register(early, SOURCE.model_copy(update={"builder": "other"}))
    engine.dispose()
