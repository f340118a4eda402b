"""Paging under inserts: whatever is added meanwhile, what was there at the start is visited exactly once."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db import clock, networks
from db.queries.networks import list_networks
from db.queries.units import list_units
from db.session import Sessions
from tests.integration.records import SOURCE, describe, info, layer, picture, store

pytestmark = pytest.mark.integration

NAMES = st.lists(st.from_regex(r"\A[A-Za-z][A-Za-z0-9_.-]{0,5}\Z"), unique=True, max_size=12)
UNITS = 12
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
    strengths=st.lists(st.none() | st.integers(-3, 3), min_size=UNITS, max_size=UNITS),
    limit=st.integers(1, 5),
)
def test_units_by_activation_are_visited_once(sessions: Sessions, strengths: list[int | None], limit: int) -> None:
    """Ties, and units without a picture or without an activation, have their place too."""
    with sessions.begin() as session:
        name = f"n{clock.now(session).timestamp():.6f}"
        describe(session, info(SOURCE.model_copy(update={"name": name}), [layer("conv", 0, UNITS)]))
        rows = [picture(unit, activation=value) for unit, value in enumerate(strengths) if value != 0]
        if rows:
            store(session, "conv", rows, network=name)

    def page(cursor: str | None) -> tuple[list[str], str | None]:
        with sessions() as session:
            found = list_units(session, name, "conv", sort="activation", limit=limit, cursor=cursor)
        return [str(item.unit) for item in found.items], found.next_cursor

    known = {unit: value for unit, value in enumerate(strengths) if value}
    wanted = sorted(range(UNITS), key=lambda unit: (unit not in known, -known.get(unit, 0), unit))
    assert visit(page, lambda: None) == [str(unit) for unit in wanted]
