"""The service in numbers, on both databases, against a slow and obvious count; and that no number costs a walk."""

from collections import Counter
from datetime import timedelta

import pytest
from sqlalchemy import delete, func, select, text, update
from sqlalchemy.orm import Session

from db import clock, workers
from db.leases import lease_shard
from db.models import Atlas, AtlasState, Shard, ShardState, Tally, Worker
from db.queries.metrics import ServiceNumbers, read_numbers, read_queue
from db.queries.workers import get_workforce
from db.session import Sessions
from db.tallies import ENDED
from db.workers import WorkerBeat
from tests.integration import records


def numbers(sessions: Sessions) -> ServiceNumbers:
    with sessions() as session:
        return read_numbers(session, alive_seconds=30, shown_seconds=3600)


def tally(session: Session) -> None:
    """Sums over the shards as they are, whoever keeps them up."""
    session.execute(delete(Tally))
    session.flush()
    for atlas_id, state, shards in session.execute(
        select(Shard.atlas_id, Shard.state, func.count()).group_by(Shard.atlas_id, Shard.state)
    ).all():
        if state in ENDED:
            session.add(Tally(atlas_id=atlas_id, state=state, shards=shards))
    for atlas_id, shards in session.execute(select(Shard.atlas_id, func.count()).group_by(Shard.atlas_id)).all():
        session.add(Tally(atlas_id=atlas_id, state="planned", shards=shards))


@pytest.fixture
def two_atlases(sessions: Sessions) -> tuple[str, str]:
    """One for GPUs with a shard done, one running and two waiting; one for any device with three waiting."""
    with sessions.begin() as session:
        records.describe(session)
        first = records.running_atlas(session, records.shards("conv", [[0], [1], [2], [3]]))
    with sessions.begin() as session:
        second = records.running_atlas(session, records.shards("conv", [[4], [5], [0]]))
    with sessions.begin() as session:
        session.execute(update(Atlas).where(Atlas.id == first).values(device_kind="gpu", priority="batch"))
        session.execute(update(Atlas).where(Atlas.id == second).values(priority="interactive"))
        ids = list(session.scalars(select(Shard.id).where(Shard.atlas_id == first).order_by(Shard.id)))
    with sessions.begin() as session:
        workers.beat(
            session, WorkerBeat(id="w", host="h", pid=1, device="cpu", device_kind="cpu", queues="shards", versions={})
        )
    for shard_id in ids[:2]:
        with sessions.begin() as session:
            assert lease_shard(session, shard_id, "w", 60)
    with sessions.begin() as session:
        moment = clock.now(session)
        done = update(Shard).where(Shard.id == ids[0])
        session.execute(done.values(state=ShardState.DONE, finished_at=moment - timedelta(seconds=40)))
        session.execute(update(Atlas).values(planned_at=moment - timedelta(seconds=500)))
        tally(session)
    return first, second


def test_the_queue_by_device_and_priority(sessions: Sessions, two_atlases: tuple[str, str]) -> None:
    found = numbers(sessions)
    assert [(q.device_kind, q.priority, q.pending, q.running) for q in found.queue] == [
        ("any", "interactive", 3, 0),
        ("gpu", "batch", 2, 1),
    ]
    with sessions() as session:
        assert read_queue(session) == found.queue
        slow = Counter(session.scalars(select(Shard.state)))
    assert sum(q.pending for q in found.queue) == slow["pending"]
    assert sum(q.running for q in found.queue) == slow["running"]


def test_ages(sessions: Sessions, two_atlases: tuple[str, str]) -> None:
    found = numbers(sessions)
    assert 500 <= found.oldest_pending_seconds < 560
    assert 40 <= found.idle_seconds < 100


def test_nothing_waits(sessions: Sessions) -> None:
    found = numbers(sessions)
    assert (found.queue, found.oldest_pending_seconds, found.idle_seconds) == ((), 0, 0)
    assert found.atlases == {state.value: 0 for state in AtlasState}
    assert (found.unplanned, found.failed_shards, found.workers) == (0, 0, ())


def test_atlases_and_failures(sessions: Sessions, two_atlases: tuple[str, str]) -> None:
    first, second = two_atlases
    with sessions.begin() as session:
        session.execute(update(Shard).where(Shard.atlas_id == second).values(state=ShardState.FAILED))
        session.execute(update(Atlas).where(Atlas.id == second).values(state=AtlasState.COMPLETE_WITH_FAILURES))
        session.execute(update(Atlas).where(Atlas.id == first).values(state=AtlasState.QUEUED))
        tally(session)
    found = numbers(sessions)
    assert (found.atlases["queued"], found.atlases["complete_with_failures"], found.unplanned) == (1, 1, 1)
    assert found.failed_shards == 3
    assert found.queue == ()


def test_workers_that_live_and_that_are_gone(sessions: Sessions) -> None:
    with sessions.begin() as session:
        for name in ("lives", "silent", "stopped", "forgotten"):
            workers.beat(
                session, WorkerBeat(id=name, host="h", pid=1, device="cpu", device_kind="cpu", queues="", versions={})
            )
    with sessions.begin() as session:
        workers.stop(session, "stopped")
        moment = clock.now(session)
        for name, seconds in (("silent", 60), ("forgotten", 3700)):
            beat_at = moment - timedelta(seconds=seconds)
            session.execute(update(Worker).where(Worker.id == name).values(heartbeat_at=beat_at))
    found = numbers(sessions)
    assert {worker.id: worker.alive for worker in found.workers} == {"lives": True, "silent": False, "stopped": False}
    assert (found.alive("cpu"), found.alive("gpu")) == (1, 0)


def test_what_a_worker_does_and_how_fast(sessions: Sessions, two_atlases: tuple[str, str]) -> None:
    with sessions.begin() as session:
        done = {"images_done": 30, "busy_seconds": 15.0, "shards_done": 3}
        began = clock.now(session) - timedelta(seconds=600)
        session.execute(update(Worker).where(Worker.id == "w").values(**done, started_at=began))
        session.execute(update(Shard).where(Shard.state == ShardState.RUNNING).values(fraction=0.25, started_at=began))
    with sessions() as session:
        force = get_workforce(session, alive_seconds=30)
    [worker] = force.workers
    assert (worker.alive, worker.images_per_second, worker.shards_done) == (True, 2.0, 3)
    assert worker.lately_per_second == pytest.approx(1 / 300)
    assert 600 <= worker.up_seconds < 660
    [job] = worker.jobs
    assert (job.network, job.layer, job.units, job.fraction) == ("tiny", "conv", (1,), 0.25)
    assert job.seconds >= 600


def test_no_number_walks_over_the_shards(sessions: Sessions, two_atlases: tuple[str, str]) -> None:
    """However many shards are done or wait: every use of the table goes by an index."""
    if sessions.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL reads a table of seven rows whole, index or not")
    asked: list[str] = []
    with sessions() as session:
        connection = session.connection()
        raw = connection.connection.dbapi_connection
        assert raw is not None
        raw.set_trace_callback(asked.append)
        read_numbers(session, alive_seconds=30, shown_seconds=3600)
        get_workforce(session, alive_seconds=30)
        raw.set_trace_callback(None)
        plans = [
            step.detail
            for statement in asked
            if statement.startswith("SELECT")
            for step in session.execute(text(f"EXPLAIN QUERY PLAN {statement}".replace(":", "\\:")))
        ]
    on_shards = [plan for plan in plans if "shards" in plan]
    assert on_shards
    assert [plan for plan in on_shards if not plan.startswith("SEARCH shards USING")] == []
