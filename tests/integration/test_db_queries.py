"""Reads for pages and REST, on SQLite and PostgreSQL."""

import json
import time

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from core.errors import InvalidRequest, NotFound, UnitOutOfRange, UnknownLayer, UnknownNetwork, UnknownRecipe
from core.recipes import BOLD, DEFAULT_RECIPES, ETCHED, FOURIER, RAW, silencing
from core.specs import NetworkSource
from db import atlases, clock, leases
from db.leases import lease_shard
from db.models import Atlas, AtlasState, Shard
from db.queries.atlases import get_atlas, list_atlases
from db.queries.pictures import get_picture
from db.queries.service import get_service
from db.queries.units import find_labels, get_unit, layer_strip, list_units
from db.session import Sessions
from db.workers import beat, stop
from tests.integration.records import (
    MAX_OPEN,
    describe,
    info,
    picture,
    results,
    running_atlas,
    shards,
    store,
    wish,
    worker_beat,
)

pytestmark = pytest.mark.integration

SILENCE = silencing(FOURIER)


@pytest.fixture(autouse=True)
def tiny(sessions: Sessions) -> None:
    with sessions.begin() as session:
        describe(session)
        atlas, _ = atlases.create(session, wish((*DEFAULT_RECIPES, RAW, SILENCE)), max_open=MAX_OPEN)
        atlases.request_cancel(session, atlas.id)


# --- units -----------------------------------------------------------------------


def test_units_are_listed_before_there_are_pictures(sessions: Sessions) -> None:
    with sessions() as session:
        page = list_units(session, "tiny", "classes")
    assert [(u.unit, u.address, u.label, u.activation, u.picture, u.thumbnail) for u in page.items] == [
        (0, "classes:0", "tabby, tabby cat", None, None, None),
        (1, "classes:1", "Lemon", None, None, None),
        (2, "classes:2", "zebra", None, None, None),
    ]
    assert (page.recipe, page.recipes, page.seeds, page.total, page.next_cursor) == (None, (), 0, 3, None)


def test_units_show_the_first_recipe_that_has_pictures(sessions: Sessions) -> None:
    for recipe, shown in ((RAW, "raw"), (ETCHED, "etched"), (BOLD, "bold"), (FOURIER, "fourier")):
        with sessions.begin() as session:
            store(session, "conv", [picture(0), picture(1)], recipe)
        with sessions() as session:
            page = list_units(session, "tiny", "conv")
        assert page.recipe is not None
        assert page.recipe.name == shown
    assert [recipe.name for recipe in page.recipes] == ["fourier", "bold", "etched", "raw"]
    assert [unit.label for unit in page.items] == [None] * 6
    first = page.items[1]
    assert first.thumbnail is not None
    assert (first.thumbnail.sheet, first.thumbnail.index, first.state, first.activation) == ("c" * 64, 1, "ok", 1.0)


def test_units_of_the_recipe_and_seed_asked_for(sessions: Sessions) -> None:
    with sessions.begin() as session:
        store(session, "conv", [picture(0, 0), picture(0, 1, activation=7.0)], BOLD)
        store(session, "conv", [picture(0, 0)], FOURIER)
    with sessions() as session:
        page = list_units(session, "tiny", "conv", shown=BOLD.content_hash(), seed=1)
        assert (page.items[0].activation, page.seeds) == (7.0, 2)
        with pytest.raises(UnknownRecipe, match="bold"):
            list_units(session, "tiny", "conv", shown="f" * 16)


def test_units_are_sorted_by_activation_strongest_first_without_last(sessions: Sessions) -> None:
    dead = {"state": "dead", "activation": None, "blob": None, "sheet": None, "sheet_index": None}
    rows = [picture(0, activation=-1.0), picture(1, **dead), picture(3, activation=5.0), picture(4, activation=5.0)]
    with sessions.begin() as session:
        store(session, "conv", rows)
        store(session, "conv", rows, SILENCE)
    with sessions() as session:
        assert everything(session, sort="activation", limit=2) == [3, 4, 0, 1, 2, 5]
        hash_ = SILENCE.content_hash()
        assert everything(session, sort="activation", shown=hash_, limit=4) == [0, 3, 4, 1, 2, 5]
        assert list_units(session, "tiny", "conv", sort="activation", limit=4).items[3].state == "dead"


def everything(session: Session, layer_name: str = "conv", **asked: object) -> list[int]:
    """Every unit of a layer, page by page."""
    units: list[int] = []
    cursor = None
    while True:
        page = list_units(session, "tiny", layer_name, cursor=cursor, **asked)  # type: ignore[arg-type]  # mixed
        units += [item.unit for item in page.items]
        cursor = page.next_cursor
        if cursor is None:
            return units


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 6, 7])
def test_pages_hold_every_unit_once(sessions: Sessions, limit: int) -> None:
    with sessions() as session:
        assert everything(session, limit=limit) == list(range(6))


def test_units_are_searched_by_label(sessions: Sessions) -> None:
    with sessions() as session:
        found = list_units(session, "tiny", "classes", q="LEMON")
        assert [unit.unit for unit in found.items] == [1]
        assert found.total == 1
        assert everything(session, "classes", q="a", limit=1) == [0, 2]
        assert list_units(session, "tiny", "conv", q="lemon").items == ()


def test_strange_cursor_is_refused(sessions: Sessions) -> None:
    with sessions() as session:
        for cursor in ("!", "bm90", list_atlases(session, limit=1).next_cursor or "WyJhIl0"):
            with pytest.raises(InvalidRequest, match="cursor"):
                list_units(session, "tiny", "conv", cursor=cursor)


def test_names_that_are_not_there(sessions: Sessions) -> None:
    with sessions() as session:
        for ask in (list_units, lambda *names: get_unit(*names, 0)):
            with pytest.raises(UnknownLayer, match="'conv'"):
                ask(session, "tiny", "con")
            with pytest.raises(UnknownNetwork, match="'tiny'"):
                ask(session, "tin", "conv")
        for unit in (-1, 6):
            with pytest.raises(UnitOutOfRange, match="0 to 5"):
                get_unit(session, "tiny", "conv", unit)
        with pytest.raises(NotFound):
            get_picture(session, 1)


def test_what_no_database_can_hold_is_not_found(sessions: Sessions) -> None:
    with sessions() as session:
        for name in ("tiny\0", "\0", "x" * 10_000):
            with pytest.raises(UnknownNetwork):
                list_units(session, name, "conv")
            with pytest.raises(UnknownLayer):
                list_units(session, "tiny", name)
            with pytest.raises(NotFound):
                get_atlas(session, name)
        for number in (0, -1, 2**31, 10**30):
            with pytest.raises(NotFound):
                get_picture(session, number)
        for seed in (-1, 9, 10**30):
            with pytest.raises(InvalidRequest, match="0 to 8"):
                list_units(session, "tiny", "conv", seed=seed)


def test_unit_has_its_pictures_by_recipe_then_seed(sessions: Sessions) -> None:
    with sessions.begin() as session:
        store(session, "classes", [picture(1, seed) for seed in (2, 0, 1)], RAW)
        store(session, "classes", [picture(1)], BOLD)
        store(session, "classes", [picture(1, seed, activation=seed + 0.5) for seed in (1, 0)], FOURIER)
    with sessions() as session:
        unit = get_unit(session, "tiny", "classes", 1)
        assert [(r.recipe.name, [p.seed for p in r.pictures]) for r in unit.recipes] == [
            ("fourier", [0, 1]),
            ("bold", [0]),
            ("raw", [0, 1, 2]),
        ]
        assert (unit.label, unit.previous, unit.next, unit.address) == ("Lemon", 0, 2, "classes:1")
        one = unit.recipes[0].pictures[1]
        assert (one.weights_hash, one.activation, one.device, one.best_step) == ("a" * 64, 1.5, "cpu", 9)
        assert get_picture(session, one.id) == one
        ends = get_unit(session, "tiny", "classes", 0), get_unit(session, "tiny", "classes", 2)
    assert [(u.previous, u.next) for u in ends] == [(None, 1), (1, None)]
    json.loads(unit.model_dump_json())


# --- across layers -----------------------------------------------------------------


def test_strip_shows_every_layer_in_order(sessions: Sessions) -> None:
    dead = {"state": "dead", "activation": None, "blob": None, "sheet": None, "sheet_index": None}
    with sessions.begin() as session:
        store(session, "conv", [picture(0, **dead), *(picture(unit) for unit in (1, 2, 3))])
        store(session, "classes", [picture(2)], BOLD)
    with sessions() as session:
        strips = layer_strip(session, "tiny", limit=3)
        assert [(s.layer.name, [i.unit for i in s.items]) for s in strips] == [
            ("conv", [1, 2, 3]),
            ("hidden", []),
            ("classes", [2]),
        ]
        assert [s.recipe.name if s.recipe else None for s in strips] == ["fourier", None, "bold"]
        assert [i.unit for i in layer_strip(session, "tiny", limit=9)[0].items] == [1, 2, 3, 0]
        with pytest.raises(UnknownNetwork):
            layer_strip(session, "nothing")


def test_labels_are_found_in_one_network_and_in_all(sessions: Sessions) -> None:
    with sessions.begin() as session:
        describe(session, info(NetworkSource(name="other", kind="bundled", builder="demo"), weights="b"))
        store(session, "classes", [picture(2)])
    with sessions() as session:
        hits = find_labels(session, "tiny", " ZE ")
        assert [(h.network, h.layer, h.item.unit, h.item.label) for h in hits] == [("tiny", "classes", 2, "zebra")]
        assert hits[0].item.thumbnail is not None
        assert [(h.network, h.item.unit) for h in find_labels(session, None, "b")] == [
            ("other", 0), ("other", 2), ("tiny", 0), ("tiny", 2)
        ]  # fmt: skip
        assert len(find_labels(session, None, "b", limit=3)) == 3
        assert find_labels(session, "tiny", "cat")[0].item.unit == 0
        assert find_labels(session, "tiny", "") == ()
        assert find_labels(session, "tiny", "nothing like it") == ()
        with pytest.raises(UnknownNetwork):
            find_labels(session, "nothing", "a")


# --- atlases -----------------------------------------------------------------------


def test_atlas_that_has_no_plan_knows_nothing(sessions: Sessions) -> None:
    with sessions.begin() as session:
        atlas_id = atlases.create(session, wish(), max_open=MAX_OPEN)[0].id
    with sessions() as session:
        atlas = get_atlas(session, atlas_id)
    assert (atlas.network, atlas.state, atlas.spec.recipes) == ("tiny", AtlasState.QUEUED, (FOURIER,))
    progress = atlas.progress
    assert (progress.images, progress.images_done, progress.fraction, progress.shards) == (9, 0, 0.0, {})
    assert (progress.images_per_second, progress.seconds_left) == (None, None)


def test_progress_counts_running_shards_by_their_fraction(sessions: Sessions) -> None:
    with sessions.begin() as session:
        atlas_id = running_atlas(session, shards("conv", [(0, 1), (2, 3), (4,), (5,)], seeds=2), seeds=2)
        ids = session.scalars(select(Shard.id).where(Shard.atlas_id == atlas_id).order_by(Shard.id)).all()
        first, second = (lease_shard(session, shard_id, "w", 60) for shard_id in ids[:2])
        assert first is not None
        assert second is not None
        leases.commit_shard(session, first, results(first))
        leases.renew(session, "w", [second.token], {second.token: 0.25}, 60)
        ago = clock.after(clock.now(session), -1000)
        session.execute(update(Shard).where(Shard.started_at.is_not(None)).values(started_at=ago))
    with sessions() as session:
        progress = get_atlas(session, atlas_id).progress
    assert (progress.images, progress.images_done, progress.fraction) == (12, 5, 5 / 12)
    assert progress.shards == {"done": 1, "running": 1, "pending": 2}
    assert progress.images_per_second == pytest.approx(0.005, rel=0.05)  # 50 s for a slow machine
    # 27.5 of 40 estimated seconds remain; the first shard took 2 s instead of 10; one shard runs.
    assert progress.seconds_left == pytest.approx(5.5)


def test_time_left_is_shared_by_those_at_work(sessions: Sessions) -> None:
    with sessions.begin() as session:
        atlas_id = running_atlas(session, shards("conv", [(0, 1), (2,), (3,), (4,), (5,)]))
        ids = session.scalars(select(Shard.id).where(Shard.atlas_id == atlas_id).order_by(Shard.id)).all()
        taken = [lease_shard(session, shard_id, "w", 60) for shard_id in ids[:3]]
        assert taken[0] is not None
        leases.commit_shard(session, taken[0], results(taken[0]))
    with sessions() as session:
        assert get_atlas(session, atlas_id).progress.seconds_left == pytest.approx(40 * 0.1 / 2)


def test_pictures_found_there_are_done_but_tell_no_speed(sessions: Sessions) -> None:
    with sessions.begin() as session:
        store(session, "conv", [picture(0), picture(1)])
        atlas_id = running_atlas(session, shards("conv", [(0, 1), (2, 3)]))
    with sessions() as session:
        progress = get_atlas(session, atlas_id).progress
    assert (progress.images, progress.images_done) == (4, 2)
    assert (progress.images_per_second, progress.seconds_left) == (None, None)


def test_failures_are_named(sessions: Sessions) -> None:
    with sessions.begin() as session:
        atlas_id = running_atlas(session, shards("conv", [(0, 1), (2,)], BOLD))
        first = session.scalars(select(Shard.id).where(Shard.atlas_id == atlas_id).order_by(Shard.id)).first()
        lease = lease_shard(session, first or 0, "w", 60)
        assert lease is not None
        leases.fail_attempt(session, lease, "CUDA out of memory", 1)
    with sessions() as session:
        atlas = get_atlas(session, atlas_id)
    [failure] = atlas.failures
    assert (failure.layer, failure.units, failure.recipe.name, failure.attempts) == ("conv", (0, 1), "bold", 1)
    assert failure.error == "CUDA out of memory"
    assert atlas.progress.shards == {"failed": 1, "pending": 1}


def test_atlases_are_listed_newest_first_page_by_page(sessions: Sessions) -> None:
    ids = []
    for _ in range(5):
        time.sleep(0.002)  # ids order atlases by milliseconds
        with sessions.begin() as session:
            ids.append(atlases.create(session, wish(), max_open=MAX_OPEN)[0].id)
    with sessions.begin() as session:
        describe(session, info(NetworkSource(name="other", kind="bundled", builder="demo"), weights="b"))
        other = atlases.create(session, wish(network="other"), max_open=MAX_OPEN)[0].id
    with sessions() as session:
        page = list_atlases(session, limit=3)
        assert [a.id for a in page.items] == [other, ids[4], ids[3]]
    with sessions.begin() as session:
        atlases.create(session, wish(), max_open=MAX_OPEN)
    with sessions() as session:
        following = list_atlases(session, limit=3, cursor=page.next_cursor)
        assert [a.id for a in following.items] == [ids[2], ids[1], ids[0]]
        assert [a.id for a in list_atlases(session, network="other").items] == [other]
        with pytest.raises(NotFound):
            get_atlas(session, "nothing")


def test_service_shows_workers_and_queue(sessions: Sessions) -> None:
    with sessions.begin() as session:
        for name in ("a", "b", "c"):
            beat(session, worker_beat(name))
        stop(session, "c")
        atlas_id = running_atlas(session)
        atlases.create(session, wish(), max_open=MAX_OPEN)
        first = session.scalars(select(Shard.id).where(Shard.atlas_id == atlas_id)).first()
        lease_shard(session, first or 0, "a", 60)
        session.execute(update(Atlas).values(planned_at=clock.after(clock.now(session), -90)))
    with sessions() as session:
        service = get_service(session, alive_seconds=30)
        assert get_service(session, alive_seconds=-1).alive == 0
    assert [(w.id, w.alive) for w in service.workers] == [("a", True), ("b", True), ("c", False)]
    queue = service.queue
    assert (service.alive, queue.unplanned, queue.pending, queue.running, queue.failed) == (2, 1, 2, 1, 0)
    assert queue.oldest_pending_seconds == pytest.approx(90, abs=5)
