"""Which units of a layer a list shows, and in which order: sort keys, so that cursors never shift."""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from math import inf
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from core.errors import UnitOutOfRange, UnknownLayer, nearest
from db import networks
from db.models import Layer, Network
from db.probe_models import UnitAnswers
from db.queries.paging import cut, decode_cursor, encode_cursor, finite

Key = tuple[float, int]
"""Where a unit stands in a list: (0, unit), or (minus its strength, unit) with infinity for what is not known."""


class AnswerSort(StrEnum):
    """Orders by what units answer to the images of a probe set."""

    HIGHEST = "highest"  # the highest answer first
    SELECTIVITY = "selectivity"
    SPARSENESS = "sparseness"
    DEAD = "dead"  # units that answer to nothing first, then by number


_RANKS: Mapping[AnswerSort, tuple[Any, Callable[[Any], float]]] = {
    AnswerSort.HIGHEST: (UnitAnswers.highest, lambda value: -value),
    AnswerSort.SELECTIVITY: (UnitAnswers.selectivity, lambda value: -value),
    AnswerSort.SPARSENESS: (UnitAnswers.sparseness, lambda value: -value),
    AnswerSort.DEAD: (UnitAnswers.dead, lambda dead: 0.0 if dead else 1.0),
}


def find_layer(session: Session, network: str, name: str) -> Layer:
    """The layer of that name, its network with it.

    Raises:
        UnknownNetwork, UnknownLayer: a name is not there.
    """
    statement = select(Layer).join(Layer.network).options(joinedload(Layer.network))
    layer = session.scalar(statement.where(Network.name == network, Layer.name == name))
    if layer is None:
        known = [each.name for each in networks.find(session, network).layers]
        raise UnknownLayer(f"{network!r} has no layer {name!r}.", nearest(name, known))
    return layer


def find_unit(session: Session, network: str, layer: str, unit: int) -> Layer:
    """The layer of a unit that there is.

    Raises:
        UnknownNetwork, UnknownLayer: a name is not there.
        UnitOutOfRange: the layer has fewer units.
    """
    found = find_layer(session, network, layer)
    if not 0 <= unit < found.units:
        raise UnitOutOfRange(f"Layer {layer!r} has no unit {unit}.", f"It has {found.units}: 0 to {found.units - 1}.")
    return found


def labelled_units(layer: Layer, q: str) -> Sequence[int]:
    """The units whose label contains `q`, in either case; all for an empty one."""
    wanted = q.strip().casefold()
    if not wanted:
        return range(layer.units)
    labels = (layer.network.labels or [])[: layer.units] if layer.labelled else []
    return [unit for unit, label in enumerate(labels) if wanted in label.casefold()]


def numbered(units: Sequence[int]) -> list[Key]:
    """The units by number."""
    return [(0.0, unit) for unit in units]


def ranked(units: Sequence[int], ranks: Mapping[int, float]) -> list[Key]:
    """The units with the lowest rank first; those without one last."""
    return sorted((ranks.get(unit, inf), unit) for unit in units)


def answer_ranks(session: Session, pass_id: int, layer_id: int, sort: AnswerSort) -> dict[int, float]:
    """The rank of each unit of a layer by what it answered in a pass."""
    column, rank = _RANKS[sort]
    rows = select(UnitAnswers.unit, column).where(UnitAnswers.pass_id == pass_id, UnitAnswers.layer_id == layer_id)
    return {unit: rank(value) for unit, value in session.execute(rows) if finite(value) is not None}


def part(keys: Sequence[Key], limit: int, cursor: str | None) -> tuple[Sequence[int], str | None]:
    """The units of the page behind a cursor, and the next cursor.

    Raises:
        InvalidRequest: the cursor is not one of this list.
    """
    if (after := decode_cursor(cursor, float, int)) is not None:
        key = (inf if after[0] is None else after[0], after[1])
        keys = [k for k in keys if k > key]
    page, following = cut(keys[: limit + 1], limit, _cursor)
    return [unit for _, unit in page], following


def _cursor(key: Key) -> str:
    return encode_cursor(None if key[0] == inf else key[0], key[1])
