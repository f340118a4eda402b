"""Commands and reads of probe sets, on both databases."""

from collections.abc import Sequence
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from core.collection import Checked, Skipped
from core.errors import (
    Conflict,
    InvalidRequest,
    NotFound,
    OverQuota,
    ProbeSetChanged,
    UnknownProbeSet,
)
from db import probe_sets
from db.forgetting import forget_deleted, is_something_left
from db.models import Base
from db.probe_models import (
    PassLayer,
    PassPart,
    PictureSearch,
    ProbeImage,
    ProbePass,
    ProbeSet,
    ProbeSkip,
    TopImage,
    UnitAnswers,
    UnitLabel,
    UnitView,
)
from db.probe_sets import Added, SetLimits, add, delete, fill
from db.queries import probe_sets as queries
from db.session import Sessions
from store import open_store
from tests.integration.probe_set_records import added, begun, finished, image, looked_at
from tests.integration.racing import race
from workers.probe_images import probe_files

pytestmark = pytest.mark.integration


def images_of(sessions: Sessions, set_id: str) -> list[tuple[int, str, str | None]]:
    return [(each.number, each.name, each.label) for each in queries.iterate_images(sessions, set_id, 0, 10_000)]


# --- filling ---------------------------------------------------------------------


def test_images_are_numbered_labelled_and_counted(sessions: Sessions) -> None:
    set_id = begun(sessions)
    items = [
        image("b/1", "b"),
        Skipped("b/x", "no image"),
        image("a/1", "a"),
        image("b/2", "b"),
        image("a/2", "a", "b/1"),
    ]
    assert added(sessions, set_id, *items) == Added(images=3, duplicates=1, skipped=1)
    found = finished(sessions, set_id)
    assert images_of(sessions, set_id) == [(0, "b/1", "b"), (1, "a/1", "a"), (2, "b/2", "b")]
    assert (found.images, found.duplicates, found.skipped, found.bytes) == (3, 1, 1, 9)
    assert (found.labels, found.state, found.in_place) == (("b", "a"), "ready", False)
    with sessions() as session:
        skips = queries.list_skips(session, set_id).items
        assert queries.count_by_label(session, set_id) == [("b", 2), ("a", 1)]
    assert {skip.name: skip.reason for skip in skips} == {"b/x": "no image", "a/2": "It is the same as b/1."}


def test_adding_the_same_again_changes_nothing(sessions: Sessions) -> None:
    set_id = begun(sessions)
    chunk = [image("1"), image("2"), image("3", content="1"), Skipped("4", "why")]
    added(sessions, set_id, *chunk)
    before = rows(sessions)
    assert added(sessions, set_id, *chunk) == Added(repeated=2)
    assert rows(sessions) == before


def rows(sessions: Sessions) -> list[list[object]]:
    """Every row of the tables of probe sets."""
    with sessions() as session:
        tables = [t for t in Base.metadata.sorted_tables if t.name.startswith("probe_")]
        return [list(session.execute(select(t).order_by(*t.primary_key))) for t in tables]


def test_a_set_that_is_ready_or_deleted_takes_no_more(sessions: Sessions) -> None:
    set_id = begun(sessions)
    added(sessions, set_id, image("1"))
    finished(sessions, set_id)
    with pytest.raises(Conflict, match="is ready"):
        added(sessions, set_id, image("2"))
    assert finished(sessions, set_id).images == 1  # finishing again changes nothing
    with sessions.begin() as session:
        delete(session, set_id)
    with pytest.raises(Conflict, match="is deleted"):
        added(sessions, set_id, image("2"))
    with pytest.raises(UnknownProbeSet), sessions.begin() as session:
        add(session, "nothing", [])


def test_a_set_without_an_image_is_not_finished(sessions: Sessions) -> None:
    set_id = begun(sessions)
    added(sessions, set_id, Skipped("1", "why"))
    with pytest.raises(InvalidRequest, match=r"no image in the probe set 'photos'\. 1 files were skipped"):
        finished(sessions, set_id)


def test_names_are_unique_and_cannot_be_taken_for_ids(sessions: Sessions) -> None:
    set_id = begun(sessions)
    for wrong in ("photos", "", "a/b", ".a", "a" * 65, "a b", set_id, "é"):
        with pytest.raises((Conflict, InvalidRequest)):
            begun(sessions, wrong)
    with sessions() as session:
        assert queries.find_id(session, "photos") == queries.find_id(session, set_id) == set_id
        with pytest.raises(UnknownProbeSet, match="Did you mean 'photos'"):
            queries.find_id(session, "photo")


def test_two_who_begin_the_same_set_at_once(sessions: Sessions) -> None:
    def try_to() -> bool:
        try:
            return bool(begun(sessions))
        except Conflict:
            return False

    assert sorted(race([try_to] * 4)) == [False, False, False, True]


def test_many_who_add_at_once_leave_no_gap(sessions: Sessions) -> None:
    set_id = begun(sessions)
    chunks = [[image(f"{n}/{i}", f"{n}", content=f"{(n * 5 + i) % 60}") for i in range(10)] for n in range(8)]
    race([partial(added, sessions, set_id, *chunk) for chunk in chunks])
    found = finished(sessions, set_id)
    assert [number for number, _, _ in images_of(sessions, set_id)] == list(range(found.images))
    assert (found.images, found.duplicates) == (45, 35)


def test_a_set_is_no_larger_than_it_may_be(sessions: Sessions) -> None:
    set_id = begun(sessions)
    added(sessions, set_id, image("1"), image("2"), limits=SetLimits(most_images=2, most_bytes=2))
    for limits in (SetLimits(most_images=2), SetLimits(most_bytes=2)):
        with pytest.raises(OverQuota, match="would have 3"):
            added(sessions, set_id, image("3"), Skipped("4", ""), limits=limits)
    assert added(sessions, set_id, image("1"), limits=SetLimits(2, 2)) == Added(repeated=1)
    assert finished(sessions, set_id).skipped == 0


def test_filling_goes_on_in_transactions_of_some_files(sessions: Sessions) -> None:
    set_id = begun(sessions)
    items = (image(f"{number}") for number in range(1234))
    assert [each.images for each in fill(sessions, set_id, items)] == [500, 500, 234]
    assert [number for number, _, _ in images_of(sessions, set_id)] == list(range(1234))


# --- labels ----------------------------------------------------------------------


def test_one_image_without_a_label_leaves_all_without(sessions: Sessions) -> None:
    set_id = begun(sessions)
    added(sessions, set_id, image("a/1", "a"))
    added(sessions, set_id, image("b/1", "b"), image("1"), image("c/1", "c"))
    added(sessions, set_id, image("d/1", "d"))
    found = finished(sessions, set_id)
    assert found.labels == ()
    assert [label for _, _, label in images_of(sessions, set_id)] == [None] * 5


def test_labels_that_are_given_hold_by_name_or_number(sessions: Sessions) -> None:
    set_id = begun(sessions, labels=["cat", "dog", "0"])
    items = [image("1", "dog"), image("2", "0"), image("3", "1"), image("4"), image("5", "fish"), image("6", "3")]
    assert added(sessions, set_id, *items) == Added(images=4, skipped=2)
    assert [label for _, _, label in images_of(sessions, set_id)] == ["dog", "0", "dog", None]
    none = begun(sessions, "none", labels=[])
    assert added(sessions, none, image("a/1", "a")) == Added(images=1)
    assert finished(sessions, none).labels == ()


@pytest.mark.parametrize("labels", [["a", "a"], [""], ["x" * 201], [str(n) for n in range(probe_sets.MAX_LABELS + 1)]])
def test_labels_that_cannot_be(sessions: Sessions, labels: list[str]) -> None:
    with pytest.raises(InvalidRequest):
        begun(sessions, labels=labels)


def test_there_are_only_so_many_labels(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_sets, "MAX_LABELS", 3)
    set_id = begun(sessions)
    added(sessions, set_id, *(image(f"{n}", f"{n}") for n in range(3)))
    with pytest.raises(InvalidRequest, match="more than 3 labels"):
        added(sessions, set_id, image("3", "3"))


# --- the content's hash ----------------------------------------------------------


def content_hash(sessions: Sessions, name: str, *chunks: Sequence[Checked], **options: object) -> str | None:
    set_id = begun(sessions, name, **options)
    for chunk in chunks:
        added(sessions, set_id, *chunk)
    return finished(sessions, set_id).content_hash


def test_the_hash_says_what_is_in_a_set(sessions: Sessions) -> None:
    one, two = image("1", "a"), image("2", "b")
    whole = content_hash(sessions, "whole", [one, two])
    assert whole == content_hash(sessions, "parts", [one], [one, two])
    others = {
        content_hash(sessions, "order", [two, one]),
        content_hash(sessions, "fewer", [one]),
        content_hash(sessions, "labels", [one, image("2", "c")]),
        none := content_hash(sessions, "none", [one, two], labels=[]),
    }
    assert len({whole, *others}) == 5
    assert whole == content_hash(sessions, "numbers", [one, two], labels=["b", "a"])
    three = image("3")
    bare = content_hash(sessions, "bare", [one, two, three], labels=[])
    assert none != bare == content_hash(sessions, "forgotten", [one], [two, three])
    assert bare == content_hash(sessions, "at-once", [one, two, three])


IMAGES = st.lists(st.tuples(st.integers(0, 15), st.integers(0, 15), st.sampled_from([None, "a", "b"])), max_size=30)
CHUNKS = st.lists(st.tuples(IMAGES, st.booleans()), max_size=5)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@given(chunks=CHUNKS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_whatever_comes_numbers_have_no_gaps_and_contents_are_there_once(sessions: Sessions, chunks: list) -> None:
    set_id = begun(sessions, f"s{next(_COUNTER)}")
    first: dict[str, str] = {}  # name by content, as an obvious dictionary keeps them
    for chunk, twice in chunks:
        items = [image(f"{name}", label, content=f"{content}") for name, content, label in chunk]
        for item in items:
            first.setdefault(item.key, item.name)
        for _ in range(1 + twice):
            added(sessions, set_id, *items)
    found = list(queries.iterate_images(sessions, set_id, 0, 1000))
    assert [(each.key, each.name) for each in found] == list(first.items())
    assert [each.number for each in found] == list(range(len(found)))
    labels = {each.label for each in found}
    assert labels == {None} or None not in labels


_COUNTER = iter(range(10**9))


# --- reads -----------------------------------------------------------------------


def test_lists_are_paged(sessions: Sessions) -> None:
    ids = [begun(sessions, f"s{number}") for number in range(5)]
    added(sessions, ids[0], *(image(f"{n}", f"{n % 2}") for n in range(7)), *(Skipped(f"x{n}", "") for n in range(5)))
    with sessions() as session:
        first = queries.list_sets(session, limit=3)
        rest = queries.list_sets(session, limit=3, cursor=first.next_cursor)
        assert [each.id for each in (*first.items, *rest.items)] == ids[::-1] and rest.next_cursor is None
        assert [each.name for each in queries.list_sets(session, name="s2").items] == ["s2"]
        page = queries.list_images(session, ids[0], label=1, limit=2)
        assert [each.number for each in page.items] == [1, 3]
        page = queries.list_images(session, ids[0], label=1, limit=2, cursor=page.next_cursor)
        assert [each.number for each in page.items] == [5] and page.next_cursor is None
        skips = queries.list_skips(session, ids[0], limit=3)
        more = queries.list_skips(session, ids[0], limit=3, cursor=skips.next_cursor)
        assert [each.name for each in (*skips.items, *more.items)] == ["x0", "x1", "x2", "x3", "x4"]


def test_images_by_their_numbers(sessions: Sessions) -> None:
    set_id = begun(sessions)
    added(sessions, set_id, image("a/0", "a"), image("b/1", "b"))
    with sessions() as session:
        found = queries.get_images(session, set_id, [1, 7, -1, 2**70])
        assert {number: (each.name, each.label, each.label_index) for number, each in found.items()} == {
            1: ("b/1", "b", 1)
        }
        with pytest.raises(NotFound):
            queries.get_image(session, set_id, 2)
        with pytest.raises(UnknownProbeSet):
            queries.get_images(session, "nothing", [0])


def test_a_worker_reads_a_range_some_rows_at_a_time(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "PART_IMAGES", 4)
    store = open_store("memory://")
    set_id = begun(sessions)
    items = [image(f"{'ab'[n % 2]}/{n}", "ab"[n % 2]) for n in range(11)]
    for item in items:
        store.put(item.name.encode())
    added(sessions, set_id, *items)
    files = list(probe_files(sessions, store, set_id, range(2, 10), 100))
    assert [(file.number, file.label, file.name) for file in files] == [(n, n % 2, items[n].name) for n in range(2, 10)]
    assert [file.read() for file in files] == [items[n].name.encode() for n in range(2, 10)]
    reading = probe_files(sessions, store, set_id, range(11), 100)
    next(reading)
    store.delete(items[2].key)
    with pytest.raises(ProbeSetChanged, match="'photos'"):
        files[0].read()
    with sessions.begin() as session:
        delete(session, set_id)
    with pytest.raises(UnknownProbeSet):
        list(reading)


# --- deleting --------------------------------------------------------------------


def used_set(sessions: Sessions) -> str:
    """A set, and a pass over it with rows of every kind."""
    set_id = begun(sessions)
    added(sessions, set_id, *(image(f"{n}", f"{n % 2}") for n in range(30)), Skipped("x", "why"))
    finished(sessions, set_id)
    looked_at(sessions, set_id, units=30)
    return set_id


def test_deleting_frees_the_name_at_once_and_the_rows_some_at_a_time(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db.forgetting.ROWS", 7)
    set_id, other = used_set(sessions), begun(sessions, "other")
    added(sessions, other, image("1"), Skipped("x", "why"))
    with sessions.begin() as session:
        delete(session, set_id)
        delete(session, set_id)  # again changes nothing
    again = begun(sessions, "photos")
    with sessions() as session:
        assert [each.id for each in queries.list_sets(session).items] == [again, other]
        for read in (queries.get_set, queries.find_id, queries.list_images, queries.list_skips):
            with pytest.raises(UnknownProbeSet):
                read(session, set_id)
    turns = forget_all(sessions)
    assert turns > 20
    with sessions() as session:
        assert not is_something_left(session)
        tables = (PassPart, PassLayer, UnitAnswers, UnitLabel, TopImage, UnitView, PictureSearch)
        assert [session.scalar(select(func.count()).select_from(table)) for table in tables] == [0] * len(tables)
        assert (
            session.scalars(select(ProbeImage.set_id)).all()
            == session.scalars(select(ProbeSkip.set_id)).all()
            == [other]
        )
        assert session.scalars(select(ProbePass.set_id)).all() == [set_id]  # so that its atlas can say what it was


def test_of_a_set_that_nothing_used_nothing_stays(sessions: Sessions) -> None:
    set_id, empty = begun(sessions), begun(sessions, "empty")
    added(sessions, set_id, image("1"))
    with sessions.begin() as session:
        delete(session, set_id)
    with sessions.begin() as session:
        delete(session, empty)
    forget_all(sessions)
    with sessions() as session:
        assert session.scalars(select(ProbeSet)).all() == []


def forget_all(sessions: Sessions) -> int:
    """In how many turns all is forgotten."""
    for turn in range(1000):
        with sessions.begin() as session:
            if not forget_deleted(session):
                return turn
    raise AssertionError("there is no end of it")


def test_several_who_forget_at_once(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("db.forgetting.ROWS", 3)
    set_id = used_set(sessions)
    with sessions.begin() as session:
        delete(session, set_id)
    race([partial(forget_all, sessions)] * 3)
    forget_all(sessions)
    with sessions() as session:
        assert session.scalar(select(func.count()).select_from(UnitView)) == 0
