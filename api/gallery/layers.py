"""What the page of a layer says: all its units as a grid, in one style (or their top images), seed and order."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup
from sqlalchemy.orm import Session

from api.gallery import addresses
from api.gallery.grid import Cell, Grid, grid_items
from api.gallery.styles import Choice, Style, choices, choose, styles_of
from api.gallery.units import Neighbour
from api.gallery.words import Address, alt, exact_percent, plural, top_alt, value
from core.specs import MAX_SEEDS, LayerInfo
from db.models import PictureState
from db.queries.answers import AnswersItem, Statistics, list_answers, statistics_of
from db.queries.networks import NetworkView
from db.queries.orders import AnswerSort, find_layer
from db.queries.paging import finite
from db.queries.passes import PassItem, answered_layers, list_passes, pass_item, shown_pass
from db.queries.recipes import RecipeItem, recipes_of_network
from db.queries.unit_items import Shown
from db.queries.units import FoundUnits, find_units

MOST_UNITS = 4608
"""Units on one page: one more page than this only where a layer has more."""
# Stands for the unit's number in an address and text that are written once, not 4,096 times; in no name that is stored.
_NUMBER = "\0"

PICTURES, IMAGES = "", "images"
"""What the grid shows of each unit: a preferred picture, or the crop of its top image."""
SHOWN = {PICTURES: "Preferred pictures", IMAGES: "Top images"}
SORTS = {
    "unit": "By number",
    "activation": "Strongest first",  # of preferred pictures
    AnswerSort.HIGHEST: "Highest answer",
    AnswerSort.SELECTIVITY: "Most selective",
    AnswerSort.SPARSENESS: "Sparsest",
    AnswerSort.DEAD: "Dead units first",
}


@dataclass(frozen=True)
class Asked:
    """What the address asks of the grid."""

    style: str = ""
    seed: int = 0
    sort: str = "unit"
    q: str = ""
    cursor: str = ""
    show: str = PICTURES
    set: str = ""


@dataclass(frozen=True)
class LayerPage:
    """Everything on the page of a layer."""

    layer: LayerInfo
    items: Markup  # HTML of each unit; empty where none matches
    style: Style | None
    probe: PassItem | None
    asked: Asked
    shows: list[Choice]
    styles: list[Choice]
    seeds: list[Choice]
    sets: list[Choice]
    sorts: list[Choice]
    summary: str
    address: str  # without a filter
    next_page: str
    above: Neighbour | None
    below: Neighbour | None


def asked(query: Mapping[str, str]) -> Asked:
    """Read the address; what makes no sense counts as not said."""
    seed, sort = query.get("seed", ""), query.get("sort", "")
    return Asked(
        style=query.get("recipe", ""),
        seed=int(seed) if seed in map(str, range(MAX_SEEDS)) else 0,
        sort=sort if sort in SORTS else "unit",
        q=query.get("q", "").strip()[:100],
        cursor=query.get("cursor", ""),
        show=IMAGES if query.get("show") == IMAGES else PICTURES,
        set=query.get("set", "")[:100],
    )


def layer_page(session: Session, network: NetworkView, name: str, wanted: Asked) -> LayerPage:
    """The page of a layer.

    Raises:
        UnknownLayer: the network has no such layer.
        InvalidRequest: the cursor is not one of this list.
    """
    layer_id = find_layer(session, network.name, name).id
    row = shown_pass(session, network.name, layer_id, wanted.set)
    probe = pass_item(row) if row else None
    pictured = recipes_of_network(session, network.name)
    styles = styles_of(pictured.get(name, []))
    style = choose(styles, wanted.style)
    wanted = _settled(wanted, style, probe)
    listed = _listed(session, (network.name, name), style, probe, wanted)
    if wanted.show == PICTURES and wanted.seed >= max(1, listed.seeds):
        return layer_page(session, network, name, replace(wanted, seed=0))
    here = _Here(network.name, name, wanted)
    above, below = around(network, shown_layers(session, network.name, pictured), name)
    return LayerPage(
        layer=listed.layer,
        items=grid_items(listed.cells, _grid(network.name, name, style, wanted)),
        style=style,
        probe=probe,
        asked=wanted,
        shows=[Choice(w, here.at(show=s, sort=_fitting(wanted.sort, s)), s == wanted.show) for s, w in SHOWN.items()],
        styles=choices(styles, style, lambda word: here.at(recipe=word)),
        seeds=[Choice(str(n), here.at(seed=n or ""), n == wanted.seed) for n in range(listed.seeds)],
        sets=_sets(session, network.name, probe, here),
        sorts=_sorts(probe, wanted, here),
        summary=_summary(listed, probe, wanted),
        address=here.at(q=""),
        next_page=here.at(cursor=listed.next_cursor) if listed.next_cursor else "",
        above=_neighbour(network.name, above, wanted),
        below=_neighbour(network.name, below, wanted),
    )


def shown_layers(session: Session, network: str, pictured: Mapping[str, Sequence[RecipeItem]]) -> frozenset[str]:
    """Names of the layers that have pictures, by the recipes of each, or answers."""
    return answered_layers(session, network) | {name for name, recipes in pictured.items() if recipes}


def around(network: NetworkView, shown: frozenset[str], name: str) -> tuple[LayerInfo | None, LayerInfo | None]:
    """The layers before and after one, in forward order, of those that have something to show."""
    layers = [layer for layer in network.layers if layer.name in shown or layer.name == name]
    place = next(n for n, layer in enumerate(layers) if layer.name == name)
    return (layers[place - 1] if place else None), (layers[place + 1] if place + 1 < len(layers) else None)


# --- what is shown, and in which order --------------------------------------------------------


def _settled(wanted: Asked, style: Style | None, probe: PassItem | None) -> Asked:
    """What can be shown of what is asked for."""
    show = IMAGES if probe and (wanted.show == IMAGES or style is None) else PICTURES
    sort = wanted.sort if probe or wanted.sort in {"unit", "activation"} else "unit"
    kept = wanted.set if probe and wanted.set == probe.set else ""
    return replace(wanted, style=style.word if style else "", show=show, sort=_fitting(sort, show), set=kept)


def _fitting(sort: str, show: str) -> str:
    """The order, if it makes sense for what is shown."""
    return "unit" if show == IMAGES and sort == "activation" else sort


def _sorts(probe: PassItem | None, wanted: Asked, here: "_Here") -> list[Choice]:
    fits = [sort for sort in SORTS if _fitting(sort, wanted.show) == sort and (probe or sort in {"unit", "activation"})]
    return [Choice(SORTS[sort], here.at(sort=sort), sort == wanted.sort) for sort in fits]


def _sets(session: Session, network: str, probe: PassItem | None, here: "_Here") -> list[Choice]:
    passes = list_passes(session, network) if probe else ()
    return [Choice(each.set, here.at(set=each.set), each.id == (probe and probe.id)) for each in passes]


@dataclass(frozen=True)
class _Listed:
    """The units of a page, of pictures or of top images."""

    layer: LayerInfo
    total: int
    cells: list[Cell]
    seeds: int  # that there are pictures of
    next_cursor: str | None


def _listed(
    session: Session, place: tuple[str, str], style: Style | None, probe: PassItem | None, wanted: Asked
) -> _Listed:
    part: dict[str, Any] = {"q": wanted.q, "limit": MOST_UNITS, "cursor": wanted.cursor or None}
    sort = _answer_sort(wanted.sort)
    if wanted.show == IMAGES:
        answers = list_answers(session, *place, set_name=wanted.set or None, sort=sort, **part)
        cells = [_answer_cell(item, wanted.sort) for item in answers.items]
        return _Listed(answers.layer, answers.total, cells, 0, answers.next_cursor)
    units = find_units(
        session,
        *place,
        shown=style.hash if style else None,
        seed=wanted.seed,
        sort="activation" if wanted.sort == "activation" else sort or "unit",
        pass_id=probe.id if probe else None,
        **part,
    )
    cells = _picture_cells(session, units, probe, wanted.sort)
    return _Listed(LayerInfo.model_validate(units.layer.info), units.total, cells, units.seeds, units.next_cursor)


def _answer_sort(sort: str) -> AnswerSort | None:
    """The order by answers; None is by number."""
    return AnswerSort(sort) if sort in list(AnswerSort) else None


# --- units ---------------------------------------------------------------------------------------


def _picture_cells(session: Session, found: FoundUnits, probe: PassItem | None, sort: str) -> list[Cell]:
    labels: Sequence[str] = (found.layer.network.labels or ()) if found.layer.labelled else ()
    cells = [
        _picture_cell(unit, labels[unit] if unit < len(labels) else None, found.pictures.get(unit))
        for unit in found.units
    ]
    if probe is None or _answer_sort(sort) is None:
        return cells
    numbers = statistics_of(session, probe.id, found.layer.id, found.units)
    return [replace(cell, told=told(numbers.get(cell.unit), sort)) for cell in cells]


def _picture_cell(unit: int, label: str | None, picture: Shown | None) -> Cell:
    if picture is None:
        return Cell(unit, label, None, None, None, "")
    strength = finite(picture.activation)
    words = "" if strength is None else value(strength)
    return Cell(unit, label, picture.sheet, picture.sheet_index, picture.state, words)


def _answer_cell(item: AnswersItem, sort: str) -> Cell:
    dead = item.statistics is not None and item.statistics.dead
    sheet, place = (item.thumbnail.sheet, item.thumbnail.index) if item.thumbnail else (None, None)
    state = PictureState.DEAD if dead else None
    return Cell(item.unit, item.label, sheet, place, state, told(item.statistics, sort))


def told(numbers: Statistics | None, sort: str) -> str:
    """The number that an order by answers is about, in words."""
    if numbers is None:
        return ""
    if sort in {AnswerSort.SELECTIVITY, AnswerSort.SPARSENESS}:
        share = numbers.selectivity if sort == AnswerSort.SELECTIVITY else numbers.sparseness
        return "" if share is None else exact_percent(share)
    return "" if numbers.highest is None else value(numbers.highest)


# --- words and addresses -----------------------------------------------------------------------------


class _Here:
    """Addresses of the same layer, seen a little differently."""

    def __init__(self, network: str, layer: str, wanted: Asked) -> None:
        self.network, self.layer = network, layer
        self.query: dict[str, object] = {
            "recipe": wanted.style, "seed": wanted.seed or "", "sort": wanted.sort, "q": wanted.q, "show": wanted.show,
            "set": wanted.set,
        }  # fmt: skip

    def at(self, **changes: object) -> str:
        query = {**self.query, **changes}
        usual = query["sort"] == "unit"
        return addresses.layer(self.network, self.layer, **{**query, "sort": "" if usual else query["sort"]})


def _grid(network: str, layer: str, style: Style | None, wanted: Asked) -> Grid:
    """Made once with a number that stands for every unit's, and cut there."""
    seed = "" if wanted.show == IMAGES else wanted.seed or ""
    address = addresses.unit(network, layer, _NUMBER, recipe=wanted.style, seed=seed, set=wanted.set)
    unit = Address(network, layer, _NUMBER)
    words = top_alt(unit) if wanted.show == IMAGES else alt(unit, style.title if style else "", wanted.seed)
    return Grid(*address.split(_NUMBER), *words.split(_NUMBER))


def _summary(listed: _Listed, probe: PassItem | None, wanted: Asked) -> str:
    states = Counter(cell.state for cell in listed.cells)
    missing = sum(cell.sheet is None and cell.state is None for cell in listed.cells)
    parts = [
        plural(listed.total, "unit") + (f" with “{wanted.q}” in the name" if wanted.q else ""),
        f"{states[PictureState.DEAD]:,} dead" if states[PictureState.DEAD] else "",
        f"{states[PictureState.NON_FINITE]:,} not finite" if states[PictureState.NON_FINITE] else "",
        f"{missing:,} not made yet" if missing else "",
        f"the strongest of {plural(probe.images, 'image')} of {probe.set}" if probe and wanted.show == IMAGES else "",
    ]
    return " · ".join(words for words in parts if words)


def _neighbour(network: str, layer: LayerInfo | None, wanted: Asked) -> Neighbour | None:
    if layer is None:
        return None
    address = addresses.layer(network, layer.name, recipe=wanted.style, show=wanted.show, set=wanted.set)
    return Neighbour(layer.name, address)
