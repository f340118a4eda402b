"""The grid of a layer as HTML, written here and not by a template: a page has thousands of units, and a template takes
ten times as long.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from api.gallery.words import EMPTY_PICTURES, first_name
from core.specs import SHEET_COLUMNS


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


@dataclass(frozen=True, slots=True)
class Cell:
    """A unit in the grid."""

    unit: int
    label: str | None
    sheet: str | None  # key of the sprite sheet that its thumbnail is on
    place: int | None  # of the thumbnail there
    state: str | None  # of a picture that is none
    told: str  # the number that the order is about


def grid_items(cells: Sequence[Cell], grid: Grid) -> Markup:
    """The list items of a grid; all text in them is escaped."""
    ready = grid.escaped()
    return Markup("\n    ".join(_item(cell, ready) for cell in cells))  # noqa: S704  # numbers, and what was escaped


def _item(cell: Cell, grid: Grid) -> str:
    """One unit. A key of the store is hex digits."""
    told = f"<span>{escape(cell.told)}</span>" if cell.told else ""
    return (
        f'<li><a class="unit" href="{grid.unit_prefix}{cell.unit}{grid.unit_suffix}">{_tile(cell, grid)}'
        f'<span class="caption"><span>{cell.unit}</span>{told}</span>{_label(cell.label)}</a></li>'
    )


def _tile(cell: Cell, grid: Grid) -> str:
    if cell.sheet is None or cell.place is None:
        empty = EMPTY_PICTURES.get(cell.state or "")
        return f'<span class="tile empty{"" if empty else " missing"}">{empty[0] if empty else "not yet"}</span>'
    row, column = divmod(cell.place, SHEET_COLUMNS)
    return (
        f'<span class="tile"><img class="c{column} r{row}" loading="lazy" decoding="async" '
        f'src="/sheets/{cell.sheet}.webp" alt="{grid.alt_prefix}{cell.unit}{grid.alt_suffix}"></span>'
    )


def _label(label: str | None) -> str:
    return f'<span class="label" title="{escape(label)}">{escape(first_name(label))}</span>' if label else ""
