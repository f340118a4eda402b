"""The grid of a layer as HTML, written here and not by a template: a page has thousands of units, and a template takes
ten times as long.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from api.gallery.words import EMPTY_PICTURES, first_name, value
from core.specs import SHEET_COLUMNS
from db.queries.paging import finite
from db.queries.unit_items import Shown
from db.queries.units import FoundUnits


@dataclass(frozen=True)
class Grid:
    """What the links and alternative texts of a grid have in common: a unit's number goes in between."""

    unit_prefix: str
    unit_suffix: str
    alt_prefix: str
    alt_suffix: str

    def escaped(self) -> "Grid":
        """The same to be written into HTML."""
        texts = (self.unit_prefix, self.unit_suffix, self.alt_prefix, self.alt_suffix)
        return Grid(*(str(escape(text)) for text in texts))


def grid_items(found: FoundUnits, grid: Grid) -> Markup:
    """The list items of a grid; all text in them is escaped."""
    labels: Sequence[str] = (found.layer.network.labels or ()) if found.layer.labelled else ()
    ready, pictures = grid.escaped(), found.pictures
    items = (_item(unit, pictures.get(unit), labels[unit] if unit < len(labels) else "", ready) for unit in found.units)
    return Markup("\n    ".join(items))  # noqa: S704  # numbers, and texts that were escaped


def _item(unit: int, picture: Shown | None, label: str, grid: Grid) -> str:
    """One unit. A key of the store is hex digits."""
    strength = finite(picture.activation) if picture else None
    shown = "" if strength is None else f"<span>{value(strength)}</span>"
    return (
        f'<li><a class="unit" href="{grid.unit_prefix}{unit}{grid.unit_suffix}">{_tile(unit, picture, grid)}'
        f'<span class="caption"><span>{unit}</span>{shown}</span>{_label(label)}</a></li>'
    )


def _tile(unit: int, picture: Shown | None, grid: Grid) -> str:
    if picture is None:
        return '<span class="tile empty missing">not yet</span>'
    if picture.sheet is None or picture.sheet_index is None:
        empty = EMPTY_PICTURES.get(picture.state)
        return f'<span class="tile empty{"" if empty else " missing"}">{empty[0] if empty else "not yet"}</span>'
    row, column = divmod(picture.sheet_index, SHEET_COLUMNS)
    return (
        f'<span class="tile"><img class="c{column} r{row}" loading="lazy" decoding="async" '
        f'src="/sheets/{picture.sheet}.webp" alt="{grid.alt_prefix}{unit}{grid.alt_suffix}"></span>'
    )


def _label(label: str) -> str:
    return f'<span class="label" title="{escape(label)}">{escape(first_name(label))}</span>' if label else ""
