"""Bytes that a picture, a shard and a unit take in PostgreSQL, indexes included: the sums in docs/scaling.md."""

import secrets
from collections.abc import Iterator

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from bench import crowd
from bench.timing import heading
from core.specs import ShardSpec
from db import atlases, clock
from db.bulk import CHUNK_ROWS, chunks, insert_missing
from db.migrate import upgrade
from db.models import Layer, Picture
from db.planning import begin_planning, extend_plan, finish_planning
from db.session import make_engine, make_sessions
from tests.services import running_postgres

LAYERS = 25
SHARDS = 20_000


def run() -> None:
    """Fills tables, and prints what they take a row."""
    heading("Bytes a row in PostgreSQL")
    with running_postgres() as url:
        upgrade(url)
        engine = make_engine(url)
        sessions = make_sessions(engine)
        with sessions.begin() as session:
            crowd.describe(session)
            _plan(session)
            for layer_id in session.scalars(select(Layer.id).limit(LAYERS)):
                insert_missing(session, Picture, _pictures(session, layer_id))
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))
        with sessions() as session:
            for table in ("pictures", "shards"):
                print(_sizes(session, table))
        engine.dispose()


def _plan(session: Session) -> None:
    atlas, _ = atlases.create(session, crowd.spec(1_000_000), max_open=2)
    lease = begin_planning(session, atlas.id, 3600)
    assert lease is not None
    name = crowd.RECIPES[0].content_hash()
    shards = (
        ShardSpec(layer="layer0", recipe_hash=name, units=tuple(range(64)), seeds=1, images=64, cost_seconds=10.0)
        for _ in range(SHARDS)
    )
    for number, chunk in enumerate(chunks(shards, CHUNK_ROWS)):
        extend_plan(session, lease, number * CHUNK_ROWS, chunk)
    finish_planning(session, lease)


def _pictures(session: Session, layer_id: int) -> Iterator[dict[str, object]]:
    moment, name = clock.now(session), crowd.RECIPES[0].content_hash()
    for unit in range(crowd.UNITS):
        yield {
            "layer_id": layer_id, "recipe_hash": name, "unit": unit, "seed": 0, "state": "ok",
            "blob": secrets.token_hex(32), "sheet": secrets.token_hex(32), "sheet_index": unit % 64, "width": 227,
            "height": 227, "activation": unit / 7, "best_step": 99, "strongest_step": 3, "seconds": 0.25,
            "device": "cuda:0 NVIDIA H100 80GB HBM3", "precision": "bfloat16", "library_version": "0.1.0",
            "shard_id": 1, "created_at": moment,
        }  # fmt: skip


def _sizes(session: Session, table: str) -> str:
    sizes = "SELECT pg_table_size(CAST(:table AS regclass)), pg_indexes_size(CAST(:table AS regclass)), count(*)"
    heap, indexes, rows = session.execute(text(f"{sizes} FROM {table}"), {"table": table}).one()
    return f"{table}: {rows:,} rows, {heap / rows:.0f} bytes a row and {indexes / rows:.0f} of indexes"
