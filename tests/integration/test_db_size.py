"""Reads of large layers and many networks: few statements, and no more rows than are shown."""

import time
from collections.abc import Callable, Sequence
from functools import partial

import pytest
from sqlalchemy import event, insert, select
from sqlalchemy.orm import Session

from core.recipes import DEFAULT_RECIPES
from core.specs import NetworkSource, Recipe
from db import atlases, clock
from db.models import Layer, Picture
from db.queries.units import find_labels, get_unit, layer_strip, list_units
from db.session import Sessions
from tests.integration.records import MAX_OPEN, describe, info, layer, wish

pytestmark = pytest.mark.integration

WIDE = 4096


@pytest.fixture(autouse=True)
def recipes(sessions: Sessions) -> None:
    with sessions.begin() as session:
        describe(session)
        atlas, _ = atlases.create(session, wish(DEFAULT_RECIPES), max_open=MAX_OPEN)
        atlases.request_cancel(session, atlas.id)


def described(session: Session, name: str, sizes: Sequence[int]) -> list[int]:
    """Ids of the layers of a new network; each has so many units, and is labelled."""
    layers = [layer(f"layer{n}", n, units, labelled=True) for n, units in enumerate(sizes)]
    describe(session, info(NetworkSource(name=name, kind="bundled", builder="demo"), layers, weights="d"))
    found = select(Layer.id).where(Layer.network.has(name=name)).order_by(Layer.order)
    return list(session.scalars(found))


def add_pictures(session: Session, layer_id: int, units: int, recipes: Sequence[Recipe] = DEFAULT_RECIPES) -> None:
    """A picture of every unit of a layer in every recipe."""
    fixed = {"layer_id": layer_id, "seed": 0, "state": "ok", "sheet": "c" * 64, "width": 8, "height": 8,
             "seconds": 0.1, "device": "cpu", "precision": "float32", "library_version": "0",
             "created_at": clock.now(session)}  # fmt: skip
    rows = [
        {**fixed, "recipe_hash": r.content_hash(), "unit": u, "sheet_index": u % 64, "activation": (u * 37) % 101}
        for r in recipes
        for u in range(units)
    ]
    session.connection().execute(insert(Picture), rows)


def test_reads_of_a_large_layer_take_few_statements(sessions: Sessions) -> None:
    """4,096 units x 5 recipes: as many statements as for six units, and quick."""
    with sessions.begin() as session:
        add_pictures(session, *described(session, "large", [WIDE]), WIDE)
    with sessions() as session:
        for ask, most in (
            (lambda: list_units(session, "large", "layer0", limit=256), 5),
            (lambda: list_units(session, "large", "layer0", sort="activation", limit=256), 6),
            (lambda: list_units(session, "large", "layer0", limit=WIDE), 5),
            (lambda: layer_strip(session, "large"), 5),
            (lambda: get_unit(session, "large", "layer0", 4000), 2),
        ):
            session.expire_all()
            start = time.perf_counter()
            assert statements(sessions, ask) <= most
            assert time.perf_counter() - start < 2


def test_a_search_of_many_networks_takes_as_many_statements_as_of_one(sessions: Sessions) -> None:
    with sessions.begin() as session:
        for number in range(5):
            described(session, f"net{number}", [3, 3])
    with sessions() as session:
        assert statements(sessions, lambda: find_labels(session, None, "e")) <= 4


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # only SQLite counts its steps
def test_strips_and_searches_look_only_at_what_they_show(sessions: Sessions) -> None:
    """With 4,096 units in a layer they do little more work in the database than with 64."""
    with sessions.begin() as session:
        for name, units in (("small", 64), ("large", WIDE)):
            for layer_id in described(session, name, [units] * 3):
                add_pictures(session, layer_id, units, DEFAULT_RECIPES[:1])
    with sessions() as session:
        for read in (partial(layer_strip, session, limit=8), partial(find_labels, session, q="lemon")):
            small, large = (steps(session, partial(read, network=name)) for name in ("small", "large"))
            assert large < 2 * small


def test_only_the_last_layers_have_items_if_so_asked(sessions: Sessions) -> None:
    with sessions.begin() as session:
        for layer_id in described(session, "some", [4, 4, 4, 4])[:3]:
            add_pictures(session, layer_id, 4)
    with sessions() as session:
        strips = layer_strip(session, "some", limit=3, last=2)
    assert [(len(strip.items), strip.recipe is not None) for strip in strips] == [
        (0, True), (3, True), (3, True), (0, False)
    ]  # fmt: skip


def statements(sessions: Sessions, ask: Callable[[], object]) -> int:
    """How many statements a read sends."""
    sent: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith(("SELECT", "WITH")):  # SQLite's beginning of a transaction is not counted
            sent.append(statement)

    event.listen(sessions.engine, "before_cursor_execute", note)
    try:
        ask()
    finally:
        event.remove(sessions.engine, "before_cursor_execute", note)
    return len(sent)


def steps(session: Session, ask: Callable[[], object]) -> int:
    """How many steps SQLite takes for a read, in units of ten."""
    taken = 0

    def count() -> int:
        nonlocal taken
        taken += 1
        return 0

    connection = session.connection().connection.driver_connection
    assert connection is not None
    connection.set_progress_handler(count, 10)
    try:
        ask()
    finally:
        connection.set_progress_handler(None, 0)
    return taken
