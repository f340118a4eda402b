"""Reads of what units answer to, and both searches, on SQLite and PostgreSQL."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from sqlalchemy import event, select, update
from sqlalchemy.orm import Session

from core.errors import Conflict, InvalidRequest, NotFound, OverQuota, UnitOutOfRange, UnknownLayer
from core.specs import BackwardKind, Side
from db import clock, searches
from db.models import Layer, Network
from db.probe_models import (
    PassState,
    PictureSearch,
    ProbePass,
    ProbeSet,
    ProbeSetState,
    SearchState,
    UnitAnswers,
    UnitLabel,
    UnitView,
)
from db.queries.answers import crop_strip, find_answers, get_answers, list_answers
from db.queries.orders import AnswerSort
from db.queries.passes import answered_layers, find_pass, list_passes, require_pass
from db.queries.searches import get_search, search_labels
from db.queries.units import list_units
from db.session import Sessions
from store.memory import MemoryStore
from tests import answers
from tests.integration.records import describe, info, layer

pytestmark = pytest.mark.integration

UNITS = 40
WHY = "Guided backpropagation is not defined for GELU."


@pytest.fixture(autouse=True)
def tiny(sessions: Sessions) -> None:
    """The network "tiny": "conv" of forty units in a map of 4 x 4, and "classes" of three."""
    layers = (
        layer("conv", 0, UNITS),
        layer("classes", 1, 3, kind="linear", labelled=True, output_shape=(3,)),
    )
    with sessions.begin() as session:
        describe(session, info(layers=layers))


@pytest.fixture
def seeded(sessions: Sessions) -> answers.Seeded:
    with sessions.begin() as session:
        return run(session)


def run(session: Session, name: str = answers.SET, layers: tuple[str, ...] = ("conv", "classes")) -> answers.Seeded:
    """A merged pass of "tiny" over a set of that name."""
    store = MemoryStore()
    network = session.scalars(select(Network).where(Network.name == "tiny")).one()
    some = session.scalars(select(Layer).where(Layer.name.in_(layers)).order_by(Layer.order)).all()
    set_id = answers.add_set(session, store, name)
    return answers.add_pass(session, store, network, some, set_id, lowest=True, undefined=WHY)


@contextmanager
def counted(sessions: Sessions) -> Iterator[list[str]]:
    """The statements that are sent meanwhile."""
    sent: list[str] = []

    def note(_c: object, _u: object, statement: str, *_: object) -> None:
        if statement.lstrip().startswith(("SELECT", "UPDATE", "INSERT")):
            sent.append(statement)

    event.listen(sessions.engine, "before_cursor_execute", note)
    yield sent
    event.remove(sessions.engine, "before_cursor_execute", note)


# --- which pass ----------------------------------------------------------------------------------


def test_without_a_pass_the_command_is_said(sessions: Sessions) -> None:
    with sessions() as session:
        assert find_pass(session, "tiny") is None
        assert list_passes(session, "tiny") == ()
        assert answered_layers(session, "tiny") == frozenset()
        assert find_answers(session, "tiny", "conv", 0) is None
        with pytest.raises(Conflict, match="deepvis probe run tiny SET --wait"):
            require_pass(session, "tiny")


def test_the_latest_merged_pass_is_shown_unless_another_is_named(sessions: Sessions) -> None:
    with sessions.begin() as session:
        first, second = run(session, "animals"), run(session, "buildings")
        third = run(session, "clouds")
        session.execute(update(ProbePass).where(ProbePass.id == third.pass_id).values(state=PassState.RUNNING))
    with sessions() as session:
        assert [found.set for found in list_passes(session, "tiny")] == ["buildings", "animals"]
        assert require_pass(session, "tiny").id == second.pass_id
        assert require_pass(session, "tiny", "animals").id == first.pass_id
        with pytest.raises(NotFound, match="animals"):
            require_pass(session, "tiny", "animal")
        assert get_answers(session, "tiny", "conv", 0, "animals").probe.id == first.pass_id
        found = find_answers(session, "tiny", "conv", 0, "nothing-like-it")
        assert found is not None
        assert found.probe.id == second.pass_id


def test_a_deleted_set_is_not_shown(sessions: Sessions) -> None:
    with sessions.begin() as session:
        first, second = run(session, "animals"), run(session, "buildings")
        session.execute(update(ProbeSet).where(ProbeSet.id == second.set_id).values(state=ProbeSetState.DELETED))
    with sessions() as session:
        assert require_pass(session, "tiny").id == first.pass_id


def test_a_layer_shows_a_pass_that_looked_at_it(sessions: Sessions) -> None:
    with sessions.begin() as session:
        whole, part = run(session, "animals"), run(session, "buildings", layers=("conv",))
    with sessions() as session:
        assert get_answers(session, "tiny", "conv", 0).probe.id == part.pass_id
        assert get_answers(session, "tiny", "classes", 0).probe.id == whole.pass_id
        assert answered_layers(session, "tiny") == {"conv", "classes"}
        with pytest.raises(NotFound, match="without this layer"):
            get_answers(session, "tiny", "classes", 0, "buildings")


# --- one unit --------------------------------------------------------------------------------------


def test_a_unit_with_everything_it_answers(sessions: Sessions, seeded: answers.Seeded) -> None:
    with sessions() as session:
        unit = get_answers(session, "tiny", "conv", 3)
    told = answers.answers_of(0, 3)
    assert unit.statistics.highest == pytest.approx(told.max())
    assert sum(b.count for b in unit.histogram) == answers.IMAGES
    top = [image for image in unit.images if image.side == Side.TOP]
    assert [image.rank for image in top] == list(range(answers.TOP))
    assert [image.activation for image in top] == pytest.approx(sorted(told, reverse=True)[: answers.TOP])
    assert all(image.label == image.name.partition("/")[0] for image in unit.images)
    assert all(image.position and len(image.position) == 2 and image.box for image in top)
    assert unit.images[-1].side == Side.LOWEST
    assert [label.effect for label in unit.labels] == sorted((label.effect for label in unit.labels), reverse=True)
    assert len(unit.similar) > 3
    assert all(one.thumbnail for one in unit.similar)
    assert ("conv", 3) not in {(one.layer, one.unit) for one in unit.similar}


def test_a_view_that_is_not_defined_says_why(sessions: Sessions, seeded: answers.Seeded) -> None:
    with sessions() as session:
        views = get_answers(session, "tiny", "conv", 0).views
    assert {view.kind for view in views} == {"crop", *BackwardKind}
    assert all((view.blob is None) == (view.kind == BackwardKind.GUIDED) for view in views)
    assert {view.why for view in views if view.blob is None} == {WHY}


def test_a_unit_without_positions_or_boxes(sessions: Sessions, seeded: answers.Seeded) -> None:
    with sessions.begin() as session:
        session.execute(update(UnitView).values(boxes=[]))
    with sessions() as session:
        images = get_answers(session, "tiny", "classes", 1).images
    assert {image.position for image in images} == {None}
    assert {image.box for image in images} == {None}


def test_a_dead_unit(sessions: Sessions, seeded: answers.Seeded) -> None:
    with sessions() as session:
        unit = get_answers(session, "tiny", "conv", answers.DEAD)
    assert unit.statistics.dead
    assert (unit.labels, unit.similar, unit.statistics.sparseness) == ((), (), None)


def test_units_that_are_not_there(sessions: Sessions, seeded: answers.Seeded) -> None:
    with sessions() as session:
        with pytest.raises(UnitOutOfRange):
            get_answers(session, "tiny", "conv", UNITS)
        with pytest.raises(UnknownLayer):
            get_answers(session, "tiny", "convv", 0)


def test_a_unit_takes_few_statements(sessions: Sessions, seeded: answers.Seeded) -> None:
    with sessions() as session, counted(sessions) as sent:
        get_answers(session, "tiny", "conv", 3)
    assert len(sent) <= 10


# --- a layer -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sort", [None, *AnswerSort])
def test_every_order_gives_every_unit_once(sessions: Sessions, seeded: answers.Seeded, sort: AnswerSort | None) -> None:
    items, cursor = [], None
    with sessions() as session:
        while True:
            page = list_answers(session, "tiny", "conv", sort=sort, limit=7, cursor=cursor)
            items += page.items
            if (cursor := page.next_cursor) is None:
                break
    keys = {
        None: lambda item: item.unit,
        AnswerSort.HIGHEST: lambda item: (-item.statistics.highest, item.unit),
        AnswerSort.SELECTIVITY: lambda item: (-item.statistics.selectivity, item.unit),
        AnswerSort.SPARSENESS: lambda item: (-(item.statistics.sparseness or -1), item.unit),
        AnswerSort.DEAD: lambda item: (not item.statistics.dead, item.unit),
    }
    assert sorted(items, key=keys[sort]) == items
    assert {item.unit for item in items} == set(range(UNITS))
    assert all(item.thumbnail for item in items)


def test_units_with_pictures_in_the_order_of_answers(sessions: Sessions, seeded: answers.Seeded) -> None:
    with sessions() as session:
        by_answers = list_answers(session, "tiny", "conv", sort=AnswerSort.HIGHEST)
        by_pictures = list_units(session, "tiny", "conv", sort=AnswerSort.HIGHEST, pass_id=seeded.pass_id)
    assert [item.unit for item in by_pictures.items] == [item.unit for item in by_answers.items]


def test_a_filter_and_a_cursor_of_another_list(sessions: Sessions, seeded: answers.Seeded) -> None:
    with sessions() as session:
        assert [item.label for item in list_answers(session, "tiny", "classes", q="LEM").items] == ["Lemon"]
        with pytest.raises(InvalidRequest):
            list_answers(session, "tiny", "conv", cursor="nothing")


def test_a_unit_that_the_pass_did_not_look_at_is_listed_last(sessions: Sessions, seeded: answers.Seeded) -> None:
    with sessions.begin() as session:
        for table in (UnitAnswers, UnitView):
            session.query(table).filter(table.unit == 0).delete()
    with sessions() as session:
        last = list_answers(session, "tiny", "conv", sort=AnswerSort.HIGHEST).items[-1]
        with pytest.raises(NotFound, match="did not look at this unit"):
            get_answers(session, "tiny", "conv", 0)
    assert (last.unit, last.statistics, last.thumbnail) == (0, None, None)


def test_a_layer_takes_few_statements_however_many_units(sessions: Sessions, seeded: answers.Seeded) -> None:
    with sessions() as session, counted(sessions) as sent:
        list_answers(session, "tiny", "conv", sort=AnswerSort.SPARSENESS, limit=UNITS)
    assert len(sent) <= 7


def test_strips_of_crops(sessions: Sessions, seeded: answers.Seeded) -> None:
    with sessions() as session:
        strips = crop_strip(session, "tiny", seeded.pass_id, limit=5)
    assert [(strip.layer.name, [item.unit for item in strip.items]) for strip in strips] == [
        ("conv", [0, 1, 2, 3, 4]),
        ("classes", [0, 1, 2]),
    ]


# --- searches ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["mushrooms", "Fish", "eye flower"])
def test_units_that_prefer_a_label(sessions: Sessions, seeded: answers.Seeded, text: str) -> None:
    with sessions() as session:
        found = search_labels(session, "tiny", text, limit=1000)
        names = [name for name in answers.LABELS if name in text.casefold()] if " " not in text else []
        places = [answers.LABELS.index(name) for name in names]
        wanted = select(UnitLabel).where(UnitLabel.label.in_(places), UnitLabel.effect > 0)
        expected = {(row.layer_id, row.unit): row.effect for row in session.scalars(wanted)}
        layers = {row.name: row.id for row in session.scalars(select(Layer))}
    assert found.labels == tuple(names)
    assert {(layers[unit.layer], unit.unit): unit.effect for unit in found.items} == expected
    assert [unit.effect for unit in found.items] == sorted((unit.effect for unit in found.items), reverse=True)
    assert bool(found.message) == (not found.items)


def test_of_several_labels_a_unit_counts_for_the_one_it_likes_most(sessions: Sessions, seeded: answers.Seeded) -> None:
    with sessions.begin() as session:
        labels = [*answers.LABELS]
        labels[0], labels[1] = "big dog", "small dog"
        session.execute(update(ProbeSet).values(labels=labels))
    with sessions() as session:
        found = search_labels(session, "tiny", "dogs", limit=1000)
        few = search_labels(session, "tiny", "dogs", limit=3)
    assert found.labels == ("big dog", "small dog")
    units = [unit.address for unit in found.items]
    assert len(units) == len(set(units))
    assert few.more
    assert few.items == found.items[:3]


def test_why_nothing_is_found(sessions: Sessions, seeded: answers.Seeded) -> None:
    with sessions() as session:
        assert "They are butterfly, eye" in search_labels(session, "tiny", "zebra").message
    with sessions.begin() as session:
        session.execute(update(ProbeSet).values(labels=[f"thing {n}" for n in range(1000)]))
    with sessions() as session:
        assert "Did you mean 'thing 7" in search_labels(session, "tiny", "thng 77").message
    with sessions.begin() as session:
        session.execute(update(ProbeSet).values(labels=[]))
    with sessions() as session:
        assert "have no labels" in search_labels(session, "tiny", "dog").message


def test_a_search_by_picture_from_beginning_to_end(sessions: Sessions, seeded: answers.Seeded) -> None:
    with sessions.begin() as session:
        search_id = searches.create(session, seeded.pass_id, "a" * 64, "alice").id
        conv = session.scalars(select(Layer.id).where(Layer.name == "conv")).one()
    with sessions.begin() as session:
        begun = searches.begin(session, search_id, 3)
        assert begun is not None
        assert (begun.key, begun.attempts) == ("a" * 64, 1)
    with sessions.begin() as session:
        searches.finish(session, search_id, [(conv, 3, 9.5, 99.2, 4.1), (conv, 5, 1.0, 60.0, 0.3)])
    with sessions.begin() as session:
        searches.finish(session, search_id, [])
        searches.fail(session, search_id, "too late")
        assert searches.begin(session, search_id, 3) is None
    with sessions() as session:
        found = get_search(session, search_id)
    assert (found.state, found.owner, found.error) == (SearchState.DONE, "alice", None)
    assert [(unit.address, unit.percentile) for unit in found.units] == [("conv:3", 99.2), ("conv:5", 60.0)]
    assert found.units[0].thumbnail
    assert found.units[0].prefers == "flower"


def test_a_search_that_ends_its_workers_is_given_up(sessions: Sessions, seeded: answers.Seeded) -> None:
    with sessions.begin() as session:
        search_id = searches.create(session, seeded.pass_id, "a" * 64).id
    for expected in (True, True, False):
        with sessions.begin() as session:
            assert (searches.begin(session, search_id, 2) is not None) == expected
        with sessions.begin() as session:
            assert searches.begin(session, search_id, 2) is None  # somebody is at it
            long_ago = clock.after(clock.now(session), -2 * searches.STALE_SECONDS)
            session.execute(update(PictureSearch).values(begun_at=long_ago))
    with sessions() as session:
        found = get_search(session, search_id)
    assert found.state == SearchState.FAILED
    assert "2 times" in (found.error or "")


def test_an_answer_that_comes_after_all_counts(sessions: Sessions, seeded: answers.Seeded) -> None:
    with sessions.begin() as session:
        search_id = searches.create(session, seeded.pass_id, "a" * 64).id
        conv = session.scalars(select(Layer.id).where(Layer.name == "conv")).one()
        assert searches.begin(session, search_id, 1) is not None
        searches.fail(session, search_id, "too slow")
    with sessions.begin() as session:
        searches.finish(session, search_id, [(conv, 3, 9.5, 99.2, 4.1)])
    with sessions() as session:
        found = get_search(session, search_id)
    assert (found.state, found.error, len(found.units)) == (SearchState.DONE, None, 1)


def test_searches_are_limited_and_forgotten(
    sessions: Sessions, seeded: answers.Seeded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searches, "MOST_OPEN", 2)
    with sessions.begin() as session:
        old, young = (searches.create(session, seeded.pass_id, "a" * 64, "alice").id for _ in range(2))
    with sessions.begin() as session, pytest.raises(OverQuota):
        searches.create(session, seeded.pass_id, "a" * 64, "alice")
    with sessions.begin() as session:
        searches.create(session, seeded.pass_id, "a" * 64, "bob")
        before = clock.after(clock.now(session), -searches.KEPT_SECONDS - 1)
        session.execute(update(PictureSearch).where(PictureSearch.id == old).values(created_at=before))
        searches.forget(session)
    with sessions() as session:
        assert get_search(session, young).owner == "alice"
        with pytest.raises(NotFound):
            get_search(session, old)


def test_a_search_that_is_left_does_not_count(sessions: Sessions, seeded: answers.Seeded) -> None:
    with sessions.begin() as session:
        search_id = searches.create(session, seeded.pass_id, "a" * 64).id
    for _ in range(5):
        with sessions.begin() as session:
            assert searches.begin(session, search_id, 1) is not None
        with sessions.begin() as session:
            searches.leave(session, search_id)


def test_unanswered_searches_are_taken_again_once(sessions: Sessions, seeded: answers.Seeded) -> None:
    with sessions.begin() as session:
        old, new = (searches.create(session, seeded.pass_id, "a" * 64).id for _ in range(2))
        done = searches.create(session, seeded.pass_id, "a" * 64).id
    with sessions.begin() as session:
        searches.fail(session, done, "x" * 10_000)
    with sessions.begin() as session:
        assert searches.take_unanswered(session, stale_seconds=60) == []
        early = session.get_one(PictureSearch, new).requested_at.replace(year=2000)
        session.execute(update(PictureSearch).where(PictureSearch.id.in_([old, done])).values(requested_at=early))
    with sessions.begin() as session:
        assert searches.take_unanswered(session, stale_seconds=60) == [old]
    with sessions.begin() as session:
        assert searches.take_unanswered(session, stale_seconds=60) == []
        assert len(session.get_one(PictureSearch, done).error or "") == 4000


def test_searches_that_are_not_there(sessions: Sessions) -> None:
    with sessions.begin() as session, pytest.raises(NotFound):
        searches.begin(session, "nothing", 3)
    with sessions() as session, pytest.raises(NotFound):
        get_search(session, "nothing")


def test_numbers_that_json_does_not_know_are_left_out(sessions: Sessions, seeded: answers.Seeded) -> None:
    with sessions.begin() as session:
        session.execute(update(UnitAnswers).where(UnitAnswers.unit == 2).values(highest=np.inf, sparseness=None))
    with sessions() as session:
        unit = get_answers(session, "tiny", "conv", 2)
        last = list_answers(session, "tiny", "conv", sort=AnswerSort.HIGHEST).items[-1]
    assert unit.statistics.highest is None
    assert last.unit == 2
