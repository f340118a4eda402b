"""What the page of a layer says: all its units as a grid, in one style, seed and order."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from markupsafe import Markup
from sqlalchemy.orm import Session

from api.gallery import addresses
from api.gallery.grid import Grid, grid_items
from api.gallery.styles import Choice, Style, choices, choose, styles_of
from api.gallery.units import Neighbour
from api.gallery.words import Address, alt, plural
from core.specs import MAX_SEEDS, LayerInfo
from db.models import PictureState
from db.queries.networks import NetworkView
from db.queries.recipes import RecipeItem, recipes_of_network
from db.queries.units import FoundUnits, find_units

MOST_UNITS = 4608
"""Units on one page: one more page than this only where a layer has more."""
# Stands for the unit's number in an address and text that are written once, not 4,096 times; in no name that is stored.
_NUMBER = "\0"

Sort = Literal["unit", "activation"]
SORTS: dict[Sort, str] = {"unit": "By number", "activation": "Strongest first"}


@dataclass(frozen=True)
class Asked:
    """What the address asks of the grid."""

    style: str = ""
    seed: int = 0
    sort: Sort = "unit"
    q: str = ""
    cursor: str = ""


@dataclass(frozen=True)
class LayerPage:
    """Everything on the page of a layer."""

    layer: LayerInfo
    items: Markup  # HTML of each unit; empty where none matches
    style: Style | None
    asked: Asked
    styles: list[Choice]
    seeds: list[Choice]
    sorts: list[Choice]
    summary: str
    address: str  # without a filter
    next_page: str
    above: Neighbour | None
    below: Neighbour | None


def asked(query: Mapping[str, str]) -> Asked:
    """Read the address; what makes no sense counts as not said."""
    seed = query.get("seed", "")
    return Asked(
        style=query.get("recipe", ""),
        seed=int(seed) if seed in map(str, range(MAX_SEEDS)) else 0,
        sort="activation" if query.get("sort") == "activation" else "unit",
        q=query.get("q", "").strip()[:100],
        cursor=query.get("cursor", ""),
    )


def layer_page(session: Session, network: NetworkView, name: str, wanted: Asked) -> LayerPage:
    """The page of a layer.

    Raises:
        UnknownLayer: the network has no such layer.
        InvalidRequest: the cursor is not one of this list.
    """
    pictured = recipes_of_network(session, network.name)
    styles = styles_of(pictured.get(name, []))
    style = choose(styles, wanted.style)
    wanted = replace(wanted, style=style.word if style else "")
    units = _units(session, (network.name, name), style, wanted, pictured.get(name))
    if wanted.seed >= max(1, units.seeds):
        return layer_page(session, network, name, replace(wanted, seed=0))
    above, below = around(network, pictured, name)
    return LayerPage(
        layer=next(layer for layer in network.layers if layer.name == name),
        items=grid_items(units, _grid(units, style, wanted.seed)),
        style=style,
        asked=wanted,
        styles=choices(styles, style, lambda word: _at(units, wanted, recipe=word)),
        seeds=[Choice(str(n), _at(units, wanted, seed=n or ""), n == wanted.seed) for n in range(units.seeds)],
        sorts=[Choice(words, _at(units, wanted, sort=sort), sort == wanted.sort) for sort, words in SORTS.items()],
        summary=_summary(units, wanted),
        address=_at(units, wanted, q=""),
        next_page=_at(units, wanted, cursor=units.next_cursor) if units.next_cursor else "",
        above=_neighbour(network.name, above, wanted),
        below=_neighbour(network.name, below, wanted),
    )


def around(
    network: NetworkView, pictured: Mapping[str, Sequence[RecipeItem]], name: str
) -> tuple[LayerInfo | None, LayerInfo | None]:
    """The layers before and after one, in forward order, of those that have pictures."""
    shown = [layer for layer in network.layers if pictured[layer.name] or layer.name == name]
    place = next(n for n, layer in enumerate(shown) if layer.name == name)
    return (shown[place - 1] if place else None), (shown[place + 1] if place + 1 < len(shown) else None)


def _units(
    session: Session, layer: tuple[str, str], style: Style | None, wanted: Asked, recipes: Sequence[RecipeItem] | None
) -> FoundUnits:
    network, name = layer
    return find_units(
        session,
        network,
        name,
        shown=style.hash if style else None,
        seed=wanted.seed,
        sort=wanted.sort,
        q=wanted.q,
        limit=MOST_UNITS,
        cursor=wanted.cursor or None,
        recipes=recipes,
    )


def _at(units: FoundUnits, wanted: Asked, **changes: object) -> str:
    """The address of the same layer, seen a little differently."""
    query = {"recipe": wanted.style, "seed": wanted.seed or "", "sort": wanted.sort, "q": wanted.q, **changes}
    query["sort"] = "" if query["sort"] == "unit" else query["sort"]
    return addresses.layer(units.layer.network.name, units.layer.name, **query)


def _grid(units: FoundUnits, style: Style | None, seed: int) -> Grid:
    """Made once with a number that stands for every unit's, and cut there."""
    word, title = (style.word, style.title) if style else ("", "")
    address = addresses.unit(units.layer.network.name, units.layer.name, _NUMBER, recipe=word, seed=seed or "")
    words = alt(Address(units.layer.network.name, units.layer.name, _NUMBER), title, seed)
    return Grid(*address.split(_NUMBER), *words.split(_NUMBER))


def _summary(units: FoundUnits, wanted: Asked) -> str:
    states = Counter(picture.state for picture in units.pictures.values())
    missing = sum(unit not in units.pictures for unit in units.units)
    told = [
        plural(units.total, "unit") + (f" with “{wanted.q}” in the name" if wanted.q else ""),
        f"{states[PictureState.DEAD]:,} dead" if states[PictureState.DEAD] else "",
        f"{states[PictureState.NON_FINITE]:,} not finite" if states[PictureState.NON_FINITE] else "",
        f"{missing:,} not made yet" if missing else "",
    ]
    return " · ".join(words for words in told if words)


def _neighbour(network: str, layer: LayerInfo | None, wanted: Asked) -> Neighbour | None:
    return Neighbour(layer.name, addresses.layer(network, layer.name, recipe=wanted.style)) if layer else None
