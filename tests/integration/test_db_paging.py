"""Paging under inserts: whatever is added meanwhile, what was there at the start is visited exactly once."""

from collections import Counter
from collections.abc import Callable
from itertools import count
from math import inf, isfinite
from typing import Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from core.recipes import FOURIER, silencing
from core.specs import Recipe
from db import atlases, clock, networks
from db.models import Atlas, Layer, Network, Picture
from db.queries.atlases import list_atlases
from db.queries.networks import list_networks
from db.queries.units import list_units
from db.session import Sessions
from tests.integration.records import MAX_OPEN, SOURCE, describe, info, layer, picture, store, wish

pytestmark = pytest.mark.integration

NAMES = st.lists(st.from_regex(r"\A[A-Za-z][A-Za-z0-9_.-]{0,5}\Z"), unique=True, max_size=12)
UNITS = 12
# 0 stands for a unit without a picture. No worker stores infinities; whoever did would not be let spoil the order.
STRENGTHS = st.none() | st.integers(-3, 3) | st.sampled_from([inf, -inf, 1e308, -5e-324])
NUMBERS = count()
# One database for all examples: each uses names or a network of its own.
EXAMPLES = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

Page = Callable[[str | None], tuple[list[str], str | None]]


def visit(page: Page, between: Callable[[], None]) -> list[str]:
    """Every item, page by page; `between` runs after each page but the last."""
    seen, cursor = page(None)
    while cursor is not None:
        between()
        items, cursor = page(cursor)
        seen += items
    return seen


def described_anew(sessions: Sessions) -> str:
    """The name of a network of its own: a layer "conv" and no pictures."""
    name = f"n{next(NUMBERS)}"
    with sessions.begin() as session:
        describe(session, info(SOURCE.model_copy(update={"name": name}), [layer("conv", 0, UNITS)]))
    return name


@EXAMPLES
@given(present=NAMES, added=NAMES, limit=st.integers(1, 5))
def test_networks_are_visited_once(sessions: Sessions, present: list[str], added: list[str], limit: int) -> None:
    with sessions() as session:
        tag = f"{clock.now(session).timestamp():.6f}"
    waiting = list(added)

    def register(names: list[str]) -> None:
        with sessions.begin() as session:
            for name in names:
                networks.register(session, SOURCE.model_copy(update={"name": f"{name}-{tag}"}))

    def page(cursor: str | None) -> tuple[list[str], str | None]:
        with sessions() as session:
            found = list_networks(session, q=tag, limit=limit, cursor=cursor)
        return [item.name for item in found.items], found.next_cursor

    register(present)
    seen = visit(page, lambda: register([waiting.pop()] if waiting else []))
    assert len(seen) == len(set(seen))
    assert {f"{name}-{tag}" for name in present} <= set(seen)


@EXAMPLES
@given(
    strengths=st.lists(STRENGTHS, min_size=UNITS, max_size=UNITS),
    limit=st.integers(1, 5),
    recipe=st.sampled_from([FOURIER, silencing(FOURIER)]),
)
def test_units_by_activation_are_visited_once(
    sessions: Sessions, strengths: list[float | None], limit: int, recipe: Recipe
) -> None:
    """Ties, and units without a picture or without an activation that is a number, have their place too."""
    name = described_anew(sessions)
    with sessions.begin() as session:
        atlases.create(session, wish([recipe], network=name), max_open=MAX_OPEN)  # makes the recipe known
        rows = [picture(unit, activation=value) for unit, value in enumerate(strengths) if value != 0]
        if rows:
            store(session, "conv", rows, recipe, network=name)

    def page(cursor: str | None) -> tuple[list[str], str | None]:
        with sessions() as session:
            found = list_units(session, name, "conv", sort="activation", limit=limit, cursor=cursor)
        return [str(item.unit) for item in found.items], found.next_cursor

    sign = 1 if recipe.direction == "silence" else -1
    known = {unit: sign * value for unit, value in enumerate(strengths) if value and isfinite(value)}
    wanted = sorted(range(UNITS), key=lambda unit: (unit not in known, known.get(unit, 0), unit))
    assert visit(page, lambda: None) == [str(unit) for unit in wanted]


@EXAMPLES
@given(limit=st.integers(1, 5), sort=st.sampled_from(["unit", "activation"]), going=st.sets(st.integers(0, UNITS - 1)))
def test_units_whose_pictures_go_are_visited_at_least_once(
    sessions: Sessions, limit: int, sort: Literal["unit", "activation"], going: set[int]
) -> None:
    """A unit that loses its picture moves to the end: it may be seen there again, and no other is missed for it."""
    name = described_anew(sessions)
    with sessions.begin() as session:
        store(session, "conv", [picture(unit) for unit in range(UNITS)], network=name)
    left = sorted(going)

    def lose_one() -> None:
        with sessions.begin() as session:
            mine = Picture.layer.has(Layer.network.has(Network.name == name))
            session.execute(delete(Picture).where(mine, Picture.unit.in_([left.pop()] if left else [])))

    def page(cursor: str | None) -> tuple[list[str], str | None]:
        with sessions() as session:
            found = list_units(session, name, "conv", sort=sort, limit=limit, cursor=cursor)
        return [str(item.unit) for item in found.items], found.next_cursor

    seen = visit(page, lose_one)
    assert set(seen) == {str(unit) for unit in range(UNITS)}
    assert all(count == 1 or (int(unit) in going and sort == "activation") for unit, count in Counter(seen).items())


@EXAMPLES
@given(
    present=st.integers(0, 12), added=st.integers(0, 4), removed=st.sets(st.integers(0, 11)), limit=st.integers(1, 5)
)
def test_atlases_are_visited_once_newest_first(
    sessions: Sessions, present: int, added: int, removed: set[int], limit: int
) -> None:
    """Atlases that come meanwhile are not among them, and those that go take no other with them."""
    name = described_anew(sessions)

    def ask() -> str:
        with sessions.begin() as session:
            return atlases.create(session, wish(network=name), max_open=MAX_OPEN)[0].id

    def page(cursor: str | None) -> tuple[list[str], str | None]:
        with sessions() as session:
            found = list_atlases(session, network=name, limit=limit, cursor=cursor)
        return [item.id for item in found.items], found.next_cursor

    there = [ask() for _ in range(present)]
    coming, going = list(range(added)), [there[n] for n in sorted(removed) if n < present]

    def change() -> None:
        if coming:
            coming.pop()
            ask()
        with sessions.begin() as session:
            session.execute(delete(Atlas).where(Atlas.id.in_([going.pop()] if going else [])))

    seen = visit(page, change)
    assert seen == sorted(set(seen), reverse=True)
    assert set(there) - {there[n] for n in removed if n < present} <= set(seen) <= set(there)
