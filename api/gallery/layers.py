"""What the page of a layer says: all its units as a grid, in one style, seed and order."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from sqlalchemy.orm import Session

from api.gallery import addresses
from api.gallery.styles import Choice, Style, choices, choose, styles_of
from api.gallery.units import Neighbour
from api.gallery.words import alt, plural
from core.specs import LayerInfo
from db.queries.networks import NetworkView
from db.queries.recipes import recipes_of_network
from db.queries.units import UnitPage, list_units

MOST_UNITS = 4608
"""Units on one page: one more page than this only where a layer has more."""
# A mark in the alternative text that stands for the unit's number: the text is written once, not 4,096 times.
_NUMBER = 987_654_321

Sort = Literal["unit", "activation"]


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
    style: Style | None
    asked: Asked
    styles: list[Choice]
    seeds: list[Choice]
    sorts: list[Choice]
    units: UnitPage
    summary: str
    address: str
    unit_prefix: str
    unit_suffix: str
    alt_prefix: str
    alt_suffix: str
    next_page: str
    above: Neighbour | None
    below: Neighbour | None


def asked(query: Mapping[str, str]) -> Asked:
    """Read the address; what makes no sense counts as not said."""
    seed = query.get("seed", "")
    return Asked(
        style=query.get("recipe", ""),
        seed=int(seed) if seed.isascii() and seed.isdigit() and len(seed) < 4 else 0,
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
    styles = styles_of(recipes_of_network(session, network.name).get(name, []))
    style = choose(styles, wanted.style)
    units = list_units(
        session,
        network.name,
        name,
        recipe_hash=style.hash if style else None,
        seed=wanted.seed,
        sort=wanted.sort,
        q=wanted.q,
        limit=MOST_UNITS,
        cursor=wanted.cursor or None,
    )
    if style and wanted.seed >= units.seeds:
        return layer_page(session, network, name, replace(wanted, seed=0))
    return _page(session, network, units, styles, style, wanted)


def _page(
    session: Session, network: NetworkView, units: UnitPage, styles: list[Style], style: Style | None, wanted: Asked
) -> LayerPage:
    word, title = (style.word, style.title) if style else ("", "")
    name = units.layer.name

    def at(**changes: object) -> str:
        query = {"recipe": word, "seed": wanted.seed or "", "sort": wanted.sort, "q": wanted.q, **changes}
        return addresses.layer(network.name, name, **{k: v for k, v in query.items() if v != "unit"})

    prefix, _, suffix = addresses.unit(network.name, name, _NUMBER, recipe=word, seed=wanted.seed or "").rpartition(
        str(_NUMBER)
    )
    before, _, after = alt(network.name, name, _NUMBER, title, wanted.seed).rpartition(str(_NUMBER))
    above, below = (neighbour(network.name, layer, word) for layer in around(session, network, name))
    return LayerPage(
        layer=units.layer,
        style=style,
        asked=wanted,
        styles=choices(styles, style, lambda each: at(recipe=each)),
        seeds=[Choice(str(n), at(seed=n or ""), n == wanted.seed) for n in range(units.seeds)],
        sorts=[
            Choice("By number", at(sort="unit"), wanted.sort == "unit"),
            Choice("Strongest first", at(sort="activation"), wanted.sort == "activation"),
        ],
        units=units,
        summary=_summary(units, wanted),
        address=at(q=""),
        unit_prefix=prefix,
        unit_suffix=suffix,
        alt_prefix=before,
        alt_suffix=after,
        next_page=at(cursor=units.next_cursor) if units.next_cursor else "",
        above=above,
        below=below,
    )


def _summary(units: UnitPage, wanted: Asked) -> str:
    states = [item.state for item in units.items]
    told = [
        plural(units.total, "unit") + (f" with “{wanted.q}” in the name" if wanted.q else ""),
        f"{states.count('dead'):,} dead" if "dead" in states else "",
        f"{states.count('non_finite'):,} not finite" if "non_finite" in states else "",
        f"{states.count(None):,} not made yet" if None in states else "",
    ]
    return " · ".join(words for words in told if words)


def around(session: Session, network: NetworkView, name: str) -> tuple[LayerInfo | None, LayerInfo | None]:
    """The layers before and after one, in forward order, of those that have pictures."""
    pictured = recipes_of_network(session, network.name)
    shown = [layer for layer in network.layers if pictured[layer.name] or layer.name == name]
    place = next((n for n, layer in enumerate(shown) if layer.name == name), 0)
    return (shown[place - 1] if place else None), (shown[place + 1] if place + 1 < len(shown) else None)


def neighbour(network: str, layer: LayerInfo | None, style: str) -> Neighbour | None:
    """Where an arrow key leads from a layer's page."""
    return Neighbour(layer.name, addresses.layer(network, layer.name, recipe=style)) if layer else None
