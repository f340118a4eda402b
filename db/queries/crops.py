"""The best crop of units as a thumbnail: tiles of the sprite sheets of layer pages."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import select, union_all
from sqlalchemy.orm import Session

from core.specs import Side
from db.bulk import chunks
from db.probe_models import UnitView
from db.queries.pictures import Thumbnail

UNITS_AT_ONCE = 10_000
"""Parameters of one statement stay below the 32,766 that SQLite takes."""
LAYERS_AT_ONCE = 100
"""SQLite takes no more than 500 parts of one statement."""
CROP = "crop"


class Place(NamedTuple):
    """A unit by its layer's id."""

    layer_id: int
    unit: int


def best_crops(session: Session, pass_id: int, places: Sequence[tuple[int, int]]) -> dict[tuple[int, int], Thumbnail]:
    """The best crop of each (layer id, unit) that has one: one statement for thousands."""
    found: dict[tuple[int, int], Thumbnail] = {}
    wanted = set(places)
    for part in chunks(iter(sorted(wanted)), UNITS_AT_ONCE):
        some = list(part)
        # Not as pairs, for which SQLite would look at every row: a few too many are cheaper.
        rows = select(UnitView.layer_id, UnitView.unit, UnitView.sheet, UnitView.sheet_index).where(
            UnitView.pass_id == pass_id,
            UnitView.layer_id.in_({layer_id for layer_id, _ in some}),
            UnitView.unit.in_({unit for _, unit in some}),
            UnitView.side == Side.TOP,
            UnitView.kind == CROP,
            UnitView.sheet.is_not(None),
        )
        for layer_id, unit, sheet, index in session.execute(rows):
            if (layer_id, unit) in wanted:
                found[layer_id, unit] = Thumbnail(sheet=sheet, index=index or 0)
    return found


def first_crops(
    session: Session, pass_id: int, layer_ids: Sequence[int], limit: int
) -> dict[int, dict[int, Thumbnail]]:
    """The best crops of each layer's first `limit` units that have one, by unit: a statement for a hundred layers."""
    found: dict[int, dict[int, Thumbnail]] = {layer_id: {} for layer_id in layer_ids}
    for some in chunks(layer_ids, LAYERS_AT_ONCE):
        parts = [
            select(UnitView.layer_id, UnitView.unit, UnitView.sheet, UnitView.sheet_index)
            .where(
                UnitView.pass_id == pass_id,
                UnitView.layer_id == layer_id,
                UnitView.side == Side.TOP,
                UnitView.kind == CROP,
                UnitView.sheet.is_not(None),
            )
            .order_by(UnitView.unit)
            .limit(limit)
            .subquery()
            for layer_id in some
        ]
        for layer_id, unit, sheet, index in session.execute(union_all(*map(select, parts))):
            found[layer_id][unit] = Thumbnail(sheet=sheet, index=index or 0)
    return found
