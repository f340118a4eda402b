"""A database of the first version, filled, becomes one of this version, on SQLite and PostgreSQL."""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, func, make_url, select, text

from core.errors import BadSetting
from core.recipes import FOURIER
from core.specs import DeviceKind
from db import dispatch, leases, migrate, planning, tallies
from db.models import Atlas, AtlasState, Base, Layer, Owner, Picture, Shard, Share, Tally, Worker
from db.session import Sessions, check_schema, make_engine, make_sessions
from tests.integration.databases import BACKENDS
from tests.integration.records import info, reap, results, wish

pytestmark = pytest.mark.integration

THEN = "2026-01-02 03:04:05.000000"
SHARDS = {
    "running": ("done", "running", "pending", "pending", "failed"),
    "complete": ("done", "done"),
    "complete_with_failures": ("done", "failed"),
    "cancelled": ("done", "cancelled"),
    "failed": (),
    "queued": (),
    "planning": (),
}
"""The states of the shards of an atlas in each state; the atlas's id is the state too."""
UNPLANNED = {"failed", "queued", "planning"}


@pytest.fixture(params=BACKENDS)
def old_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of a database with the tables of the first version."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/old.db"
        migrate.upgrade(url, "0001")
        yield url
        return
    server: str = request.getfixturevalue("postgres_server")
    url = make_url(server).set(database="old").render_as_string(hide_password=False)
    admin = make_engine(server).execution_options(isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text("CREATE DATABASE old"))
        migrate.upgrade(url, "0001")
        yield url
        connection.execute(text("DROP DATABASE old WITH (FORCE)"))
    admin.dispose()


def insert(connection: Connection, table: str, **values: Any) -> None:
    columns = ", ".join(f'"{name}"' for name in values)
    given = {name: json.dumps(value) if isinstance(value, dict | list) else value for name, value in values.items()}
    places = ", ".join(f":{name}" for name in values)
    connection.execute(text(f"INSERT INTO {table} ({columns}) VALUES ({places})"), given)  # names above


def fill(connection: Connection) -> None:
    """A network, its layers, a worker, and an atlas of each state with shards and pictures."""
    described = info().model_dump(mode="json")
    network = {name: described[name] for name in ("input_shape", "mean", "std", "labels", "parameters", "weights_hash")}
    insert(connection, "networks", name="tiny", source=described["source"], state="described", attempts=1, **network)
    for layer in described["layers"]:
        columns = {name: layer[name] for name in ("name", "kind", "order", "units", "labelled", "default")}
        insert(connection, "layers", network_id=1, info=layer, **columns)
    spec = FOURIER.model_dump(mode="json")
    insert(connection, "recipes", hash=FOURIER.content_hash(), name=FOURIER.name, title=FOURIER.title, spec=spec)
    said = {"activity": "idle", "images_done": 7, "busy_seconds": 3.5, "started_at": THEN, "heartbeat_at": THEN}
    insert(connection, "workers", id="w", host="h", pid=1, device="cpu", queues="shards", versions={}, **said)
    for state, shards in SHARDS.items():
        fill_atlas(connection, state, shards)


def fill_atlas(connection: Connection, state: str, shards: tuple[str, ...]) -> None:
    planned = None if state in UNPLANNED else THEN
    plan = {"plan_attempts": 1, "planned_at": planned, "created_at": THEN, "images": 2 * len(shards)}
    fields = {"weight": 2.0, "served": 10.0 * len(shards), "idempotency_key": f"key of {state}"}
    spec = wish((FOURIER,)).model_dump(mode="json")
    insert(connection, "atlases", id=state, network_id=1, spec=spec, state=state, **plan, **fields)
    for position, each in enumerate(shards):
        fill_shard(connection, state, 2 * position, each)


def fill_shard(connection: Connection, atlas_id: str, unit: int, state: str) -> None:
    done = state == "done"
    lease = {"lease_token": "t", "lease_worker": "w", "lease_expires_at": THEN} if state == "running" else {}
    work = {"units": [unit % 6, unit % 6 + 1], "seeds": 1, "images": 2, "cost_seconds": 10.5}
    fields = {"state": state, "fraction": float(done), "attempts": int(state != "pending"), **lease}
    ended = {"finished_at": THEN, "seconds": 4.5} if done else {}
    of = {"layer_id": 1, "recipe_hash": FOURIER.content_hash()}
    insert(connection, "shards", atlas_id=atlas_id, **of, **work, **fields, **ended)
    if done and atlas_id == "running":
        shard_id = connection.scalar(text("SELECT max(id) FROM shards"))
        for each in work["units"]:  # type: ignore[attr-defined]  # a dictionary of mixed values
            place = {"unit": each, "seed": 0, "state": "ok", "blob": f"{each:064x}", "sheet": "c" * 64}
            made = {"device": "cpu", "precision": "float32", "library_version": "0", "seconds": 0.5}
            size = {"width": 8, "height": 8, "created_at": THEN, "shard_id": shard_id, "sheet_index": 0}
            insert(connection, "pictures", **of, **place, **made, **size)


@pytest.fixture
def upgraded(old_url: str) -> Iterator[Sessions]:
    """A filled database of the first version after its upgrade."""
    engine = make_engine(old_url)
    with engine.begin() as connection:
        fill(connection)
    engine.dispose()
    migrate.upgrade(old_url)
    engine = make_engine(old_url)
    yield make_sessions(engine)
    engine.dispose()


def test_nothing_is_lost_and_the_tables_are_those_of_the_models(upgraded: Sessions) -> None:
    check_schema(upgraded.engine)
    with upgraded.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []
        if connection.dialect.name == "sqlite":
            assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
            assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    with upgraded() as session:
        shards = session.execute(select(Shard.atlas_id, Shard.state)).all()
        assert Counter((a, s) for a, s in shards) == Counter((a, s) for a, states in SHARDS.items() for s in states)
        assert session.scalar(select(func.count()).select_from(Layer)) == 3
        assert session.scalars(select(Picture.unit).order_by(Picture.unit)).all() == [0, 1]
        assert session.scalars(select(Worker.images_done)).all() == [7]
        keys = dict(session.execute(select(Atlas.id, Atlas.idempotency_key)).all())
    assert keys == {state: f"key of {state}" for state in SHARDS}


def test_what_is_new_is_filled_from_what_was_there(upgraded: Sessions) -> None:
    with upgraded.begin() as session:
        kept = session.execute(select(Atlas.id, Atlas.priority, Atlas.owner, Atlas.device_kind)).all()
        assert {row.id: row.priority for row in kept} == {a: None if a in UNPLANNED else "batch" for a in SHARDS}
        assert {(row.owner, row.device_kind) for row in kept} == {("local", "any")}
        assert session.scalars(select(Owner.name)).all() == ["local"]
        owners = dict(session.execute(select(Share.owner, Share.served)).all())
        assert owners == {"local": 2.0 * 10.0 * sum(map(len, SHARDS.values()))}
        filled = tallies.of_atlases(session, list(SHARDS))
        for atlas_id in SHARDS:
            tallies.recount(session, atlas_id)
        assert tallies.of_atlases(session, list(SHARDS)) == filled
    assert filled["running"].open_shards == 3
    assert filled["running"]["done"] == tallies.Sums(
        shards=1, images=2, cost_seconds=10.5, computed_cost_seconds=10.5, computed_seconds=4.5
    )
    assert filled["running"][tallies.PLANNED] == tallies.Sums(shards=5, images=10, cost_seconds=52.5)


def test_work_goes_on(upgraded: Sessions) -> None:
    with upgraded.begin() as session:
        before = session.scalars(select(Share.served)).one()
        live = Counter({DeviceKind.CPU: 1})
        chosen = [each.shard_id for each in dispatch.take_for_dispatch(session, live, stale_seconds=60)]
        assert chosen
    with upgraded.begin() as session:
        assert session.scalars(select(Share.served)).one() == before + 10.5 * len(chosen)
        reap(session, 3)
    for _ in range(3):
        with upgraded.begin() as session:
            waiting = select(Shard.id).where(Shard.atlas_id == "running", Shard.state == "pending")
            lease = leases.lease_shard(session, session.scalars(waiting.limit(1)).one(), "w", 60)
            assert lease is not None
            state = leases.commit_shard(session, lease, results(lease))
    assert state == AtlasState.COMPLETE_WITH_FAILURES
    with upgraded.begin() as session:
        assert planning.begin_planning(session, "queued", 60) is not None
        assert session.scalar(select(Tally.shards).where(Tally.atlas_id == "running", Tally.state == "done")) == 4


def test_rows_that_name_missing_ones_stop_an_upgrade_that_then_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    url = f"sqlite:///{path}"
    migrate.upgrade(url, "0001")
    engine = make_engine(url)
    with engine.begin() as connection:
        fill(connection)
    with sqlite3.connect(path) as loose:  # checks nothing
        loose.execute("DELETE FROM atlases WHERE id = 'running'")
    loose.close()
    with pytest.raises(BadSetting, match=r"\(shards, tallies\) name rows that are not there"):
        migrate.upgrade(url)
    assert migrate.revision(engine) == "0001"
    engine.dispose()
