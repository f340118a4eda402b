"""The queries that start workers by need: none where nothing waits, some as soon as anything does, and cheap ones."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml
from sqlalchemy import text

from core.specs import ShardSpec
from db import atlases, networks, planning
from db.leases import commit_shard, lease_shard
from db.models import Atlas, Shard, ShardState
from db.session import Sessions, make_engine, make_sessions
from tests.conftest import ROOT
from tests.integration import records
from tests.integration.databases import empty

KINDS = ("gpu", "cpu")
MOST_MILLISECONDS = 50

Wanted = Callable[[], dict[str, float]]


def trigger(kind: str) -> dict[str, str]:
    path = ROOT / f"deploy/kubernetes/components/autoscaling-{kind}/scaled-object.yaml"
    scaled = next(iter(yaml.safe_load_all(path.read_text())))
    found: dict[str, str] = scaled["spec"]["triggers"][0]["metadata"]
    return found


@pytest.fixture
def sessions(migrated_postgres: str) -> Iterator[Sessions]:
    """KEDA asks PostgreSQL only."""
    empty(migrated_postgres)
    engine = make_engine(migrated_postgres)
    yield make_sessions(engine)
    engine.dispose()


@pytest.fixture
def wanted(sessions: Sessions) -> Wanted:
    """How much work there is for each kind of worker."""

    def ask() -> dict[str, float]:
        with sessions() as session:
            return {kind: float(session.scalar(text(trigger(kind)["query"]))) for kind in KINDS}

    return ask


def everywhere(count: float) -> dict[str, float]:
    return dict.fromkeys(KINDS, count)


def create(sessions: Sessions, kind: str = "any") -> str:
    """Wish for an atlas as the API does, for this kind of device."""
    with sessions.begin() as session:
        atlas, _ = atlases.create(session, records.wish(), max_open=10)
        atlas.device_kind = kind
        return atlas.id


def plan(sessions: Sessions, atlas_id: str, shards: list[ShardSpec]) -> None:
    with sessions.begin() as session:
        records.save_plan(session, atlas_id, shards)


def describe(sessions: Sessions) -> None:
    with sessions.begin() as session:
        records.describe(session)


def test_nothing_to_do_wants_nobody(sessions: Sessions, wanted: Wanted) -> None:
    assert wanted() == everywhere(0)
    describe(sessions)
    assert wanted() == everywhere(0)


def test_a_network_that_is_asked_for_wants_somebody_who_looks(sessions: Sessions, wanted: Wanted) -> None:
    """As it is with the catalogue that the migration's job stores, and nobody has worked here yet."""
    with sessions.begin() as session:
        networks.sync_catalogue(session, [records.SOURCE])
    assert wanted() == everywhere(0)
    with sessions.begin() as session:
        assert networks.request_description(session, "tiny")
    assert wanted() == everywhere(1)
    describe(sessions)
    assert wanted() == everywhere(0)


def test_an_atlas_wants_somebody_from_its_wish_to_its_last_shard(sessions: Sessions, wanted: Wanted) -> None:
    describe(sessions)
    atlas_id = create(sessions)
    assert wanted() == everywhere(1)  # queued
    with sessions.begin() as session:
        planner = planning.begin_planning(session, atlas_id, 60)
    assert planner is not None
    assert wanted() == everywhere(1)  # planning
    with sessions.begin() as session:
        planning.extend_plan(session, planner, 0, records.shards("conv", [(0, 1), (2, 3), (4, 5)]))
        planning.finish_planning(session, planner)
    assert wanted() == everywhere(3)
    with sessions() as session:
        ids = [shard.id for shard in session.query(Shard)]
    for done, shard_id in enumerate(ids, start=1):
        with sessions.begin() as session:
            lease = lease_shard(session, shard_id, "w", 60)
        assert lease is not None
        assert wanted() == everywhere(4 - done)  # what runs counts too, whoever holds it may be dead
        with sessions.begin() as session:
            commit_shard(session, lease, records.results(lease))
        assert wanted() == everywhere(3 - done)


def test_a_new_atlas_wakes_workers_that_were_sent_home(sessions: Sessions, wanted: Wanted) -> None:
    describe(sessions)
    for _ in range(2):
        atlas_id = create(sessions)
        assert wanted() == everywhere(1)
        with sessions.begin() as session:
            atlases.request_cancel(session, atlas_id)
        assert wanted() == everywhere(0)


def test_workers_come_for_atlases_that_they_may_compute(sessions: Sessions, wanted: Wanted) -> None:
    describe(sessions)
    gpu = create(sessions, "gpu")
    assert wanted() == {"gpu": 1, "cpu": 0}
    plan(sessions, gpu, records.shards("conv", [(0, 1), (2, 3)]))
    assert wanted() == {"gpu": 2, "cpu": 0}
    create(sessions, "cpu")
    assert wanted() == {"gpu": 2, "cpu": 1}


def test_what_failed_wants_nobody_until_it_is_tried_again(sessions: Sessions, wanted: Wanted) -> None:
    describe(sessions)
    with sessions.begin() as session:
        atlas_id = records.running_atlas(session)
        session.query(Shard).update({Shard.state: ShardState.FAILED})
        session.get_one(Atlas, atlas_id).state = "complete_with_failures"
    assert wanted() == everywhere(0)
    with sessions.begin() as session:
        assert atlases.retry_failed(session, atlas_id) == 3
    assert wanted() == everywhere(3)


def test_counting_is_cheap_however_many_shards_there_are(sessions: Sessions, wanted: Wanted) -> None:
    describe(sessions)
    with sessions.begin() as session:
        atlas_id = records.running_atlas(session)
        _grow(session, atlas_id)
    assert wanted() == everywhere(1000)
    with sessions() as session:
        session.execute(text("SET LOCAL statement_timeout = 5000"))
        explained = f"EXPLAIN (ANALYZE, FORMAT JSON) {trigger('gpu')['query']}"
        [report] = session.scalar(text(explained))
    assert report["Execution Time"] < MOST_MILLISECONDS, report


def _grow(session: Any, atlas_id: str) -> None:
    """200,000 shards more, half of them done; then what PostgreSQL does by itself after a while."""
    columns = "atlas_id, layer_id, recipe_hash, units, seeds, images, cost_seconds, fraction, attempts"
    values = f"{columns}, CASE WHEN number % 2 = 0 THEN 'done' ELSE 'pending' END"
    source = "(SELECT * FROM shards WHERE atlas_id = :atlas LIMIT 1) AS one, generate_series(1, 200000) AS number"
    session.execute(text(f"INSERT INTO shards ({columns}, state) SELECT {values} FROM {source}"), {"atlas": atlas_id})
    session.execute(text("ANALYZE shards"))


@pytest.mark.parametrize("kind", KINDS)
def test_one_shard_is_enough_to_start_a_worker(kind: str) -> None:
    """KEDA starts from none as soon as the query gives more than the activation value."""
    said = trigger(kind)
    assert float(said["activationTargetQueryValue"]) == 0
    assert float(said["targetQueryValue"]) >= 1
