"""Thumbnails as pages show them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from api.gallery import addresses
from api.gallery.words import Address, alt, top_alt
from db.queries.answers import CropItem
from db.queries.units import LabelHit, LayerStrip, UnitItem

MOSAIC_TILES = 32
MOSAIC_LAYERS = 3


@dataclass(frozen=True)
class Tile:
    """A thumbnail that leads to its unit; without a sheet there is a word in its place."""

    unit: int
    label: str | None
    state: str | None
    activation: float | None
    sheet: str | None
    sheet_index: int
    address: str
    alt: str


def tile(network: str, layer: str, item: UnitItem, style: str, **query: object) -> Tile:
    """The tile of a unit; `style` is the title of the recipe shown."""
    return Tile(
        unit=item.unit,
        label=item.label,
        state=item.state,
        activation=item.activation,
        sheet=item.thumbnail.sheet if item.thumbnail else None,
        sheet_index=item.thumbnail.index if item.thumbnail else 0,
        address=addresses.unit(network, layer, item.unit, **query),
        alt=alt(Address(network, layer, item.unit), style, 0, item.label),
    )


def image_tile(network: str, layer: str, item: CropItem) -> Tile:
    """The tile of the crop of a unit's top image."""
    return Tile(
        unit=item.unit,
        label=item.label,
        state=None,
        activation=None,
        sheet=item.thumbnail.sheet,
        sheet_index=item.thumbnail.index,
        address=addresses.unit(network, layer, item.unit),
        alt=top_alt(Address(network, layer, item.unit), item.label),
    )


def hit_tile(hit: LabelHit) -> Tile:
    """The tile of a unit that was searched for by its label."""
    return tile(hit.network, hit.layer, hit.item, "first")


def mosaic(network: str, strips: Sequence[LayerStrip]) -> list[Tile]:
    """Tiles to know a network by: mixed from the last few layers that have pictures, where they say most."""
    rows = [row for strip in reversed(strips) if (row := _pictured(network, strip))][:MOSAIC_LAYERS]
    longest = max(map(len, rows), default=0)
    mixed = [row[place] for place in range(longest) for row in rows if place < len(row)]
    return mixed[:MOSAIC_TILES]


def _pictured(network: str, strip: LayerStrip) -> list[Tile]:
    style = strip.recipe.title if strip.recipe else ""
    return [tile(network, strip.layer.name, item, style) for item in _with_picture(strip.items)]


def _with_picture(items: Iterable[UnitItem]) -> list[UnitItem]:
    return [item for item in items if item.thumbnail]
