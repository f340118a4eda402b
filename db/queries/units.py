"""Reads of units: the grid of a layer, and one unit with all its pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from math import inf
from typing import Literal

from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload

from core.errors import InvalidRequest, UnitOutOfRange, UnknownLayer, nearest
from core.specs import MAX_SEEDS, LayerInfo, UnitAddress
from db import networks
from db.models import Layer, Network, Picture
from db.queries.paging import View, cut, decode_cursor, encode_cursor, finite
from db.queries.pictures import PictureView, label_of, picture_view
from db.queries.recipes import RecipeItem, choose_recipe, recipes_of_layers, shown_order
from db.queries.strips import LabelHit, LayerStrip, find_labels, layer_strip
from db.queries.unit_items import Shown, UnitItem, shown_pictures, unit_item

__all__ = [
    "FoundUnits",
    "LabelHit",
    "LayerStrip",
    "RecipePictures",
    "UnitItem",
    "UnitPage",
    "UnitView",
    "find_labels",
    "find_units",
    "get_unit",
    "layer_strip",
    "list_units",
]

MOST_LISTED = 200
"""Units that are asked for one by one."""
Key = tuple[float, int]
"""Where a unit stands in a list: (0, unit), or (minus its strength, unit) with infinity for no activation."""


class UnitPage(View):
    """A page of a layer's units, each with the picture of one recipe and seed."""

    network: str
    layer: LayerInfo
    recipe: RecipeItem | None  # whose pictures are shown; None while the layer has none
    recipes: tuple[RecipeItem, ...]  # those the layer has pictures of, in the order shown
    seed: int
    seeds: int  # how many seeds that recipe has pictures of
    total: int  # units that match
    items: tuple[UnitItem, ...]
    next_cursor: str | None


class RecipePictures(View):
    """A unit's pictures of one recipe, by seed."""

    recipe: RecipeItem
    pictures: tuple[PictureView, ...]


class UnitView(View):
    """A unit with every picture of it, the default recipes first."""

    network: str
    weights_hash: str
    layer: LayerInfo
    unit: int
    address: str  # layer:unit
    label: str | None
    recipes: tuple[RecipePictures, ...]
    previous: int | None  # the unit before it in the layer
    next: int | None


def list_units(  # noqa: PLR0913  # all that a page of units can be asked for
    session: Session,
    network: str,
    layer: str,
    *,
    shown: str | None = None,
    seed: int = 0,
    sort: Literal["unit", "activation"] = "unit",
    q: str = "",
    limit: int = 100,
    cursor: str | None = None,
) -> UnitPage:
    """Units of a layer, also those without a picture yet; `q` keeps those whose label contains it.

    Sorted by unit, or by activation with the strongest response first (for a silencing recipe the lowest activation),
    units without one last. The recipe `shown` is named by hash or name; by default the
    first that the layer has pictures of.

    Raises:
        UnknownNetwork, UnknownLayer, UnknownRecipe: a name is not there.
        InvalidRequest: the cursor is not one of this list, or there is no such seed.
    """
    found = find_units(session, network, layer, shown=shown, seed=seed, sort=sort, q=q, limit=limit, cursor=cursor)
    pictures = found.pictures
    return UnitPage(
        network=network,
        layer=LayerInfo.model_validate(found.layer.info),
        recipe=found.recipe,
        recipes=found.recipes,
        seed=seed,
        seeds=found.seeds,
        total=found.total,
        items=tuple(unit_item(found.layer.network, found.layer, unit, pictures.get(unit)) for unit in found.units),
        next_cursor=found.next_cursor,
    )


@dataclass(frozen=True, kw_only=True)
class FoundUnits:
    """What `UnitPage` is made of, for who shows thousands: an object for each costs more than all the rest."""

    layer: Layer  # with its network
    recipe: RecipeItem | None
    recipes: tuple[RecipeItem, ...]
    seeds: int
    total: int
    units: Sequence[int]  # in their order
    pictures: dict[int, Shown]  # by unit
    next_cursor: str | None


def find_units(  # noqa: PLR0913  # as list_units
    session: Session,
    network: str,
    layer: str,
    *,
    shown: str | None,
    seed: int,
    sort: Literal["unit", "activation"],
    q: str,
    limit: int,
    cursor: str | None,
    recipes: Sequence[RecipeItem] | None = None,
) -> FoundUnits:
    """As `list_units`; `recipes` saves asking what the layer has pictures of."""
    if not 0 <= seed < MAX_SEEDS:
        raise InvalidRequest(f"There is no seed {seed}.", f"Seeds are 0 to {MAX_SEEDS - 1}.")
    found = _layer(session, network, layer)
    if recipes is None:
        recipes = recipes_of_layers(session, [found.id])[found.id]
    recipe = choose_recipe(recipes, shown)
    units = _labelled(found, q)
    keys = _keys(session, found, recipe, seed, units) if sort == "activation" else [(0.0, unit) for unit in units]
    if (after := decode_cursor(cursor, float, int)) is not None:
        key = (inf if after[0] is None else after[0], after[1])
        keys = [k for k in keys if k > key]
    page, following = cut(keys[: limit + 1], limit, _cursor)
    page_units = [unit for _, unit in page]
    return FoundUnits(
        layer=found,
        recipe=recipe,
        recipes=tuple(recipes),
        seeds=_seeds(session, found, recipe),
        total=len(units),
        units=page_units,
        pictures=_pictures(session, found, recipe, seed, page_units),
        next_cursor=following,
    )


def get_unit(session: Session, network: str, layer: str, unit: int) -> UnitView:
    """The unit with every picture of it, grouped by recipe, seeds ascending.

    Raises:
        UnknownNetwork, UnknownLayer: a name is not there.
        UnitOutOfRange: the layer has fewer units.
    """
    found = _layer(session, network, layer)
    if not 0 <= unit < found.units:
        raise UnitOutOfRange(f"Layer {layer!r} has no unit {unit}.", f"It has {found.units}: 0 to {found.units - 1}.")
    statement = select(Picture).options(joinedload(Picture.recipe)).order_by(Picture.seed)
    rows = session.scalars(statement.where(Picture.layer_id == found.id, Picture.unit == unit))
    pictures = [picture_view(picture, found, found.network) for picture in rows]
    return UnitView(
        network=network,
        weights_hash=found.network.weights_hash or "",
        layer=LayerInfo.model_validate(found.info),
        unit=unit,
        address=str(UnitAddress(layer=layer, unit=unit)),
        label=label_of(found.network, found, unit),
        recipes=_by_recipe(pictures),
        previous=unit - 1 if unit > 0 else None,
        next=unit + 1 if unit + 1 < found.units else None,
    )


def _layer(session: Session, network: str, name: str) -> Layer:
    statement = select(Layer).join(Layer.network).options(joinedload(Layer.network))
    layer = session.scalar(statement.where(Network.name == network, Layer.name == name))
    if layer is None:
        known = [each.name for each in networks.find(session, network).layers]
        raise UnknownLayer(f"{network!r} has no layer {name!r}.", nearest(name, known))
    return layer


def _labelled(layer: Layer, q: str) -> Sequence[int]:
    wanted = q.strip().casefold()
    if not wanted:
        return range(layer.units)
    labels = (layer.network.labels or [])[: layer.units] if layer.labelled else []
    return [unit for unit, label in enumerate(labels) if wanted in label.casefold()]


def _keys(session: Session, layer: Layer, recipe: RecipeItem | None, seed: int, units: Sequence[int]) -> list[Key]:
    """The units with the strongest first: sorted here, since units without a picture have no row to sort."""
    if recipe is None:
        return [(inf, unit) for unit in units]
    sign = 1.0 if recipe.direction == "silence" else -1.0
    statement = select(Picture.unit, Picture.activation).where(Picture.activation.is_not(None))
    mine = statement.where(Picture.layer_id == layer.id, Picture.recipe_hash == recipe.hash, Picture.seed == seed)
    strength = {unit: sign * a for unit, activation in session.execute(mine) if (a := finite(activation)) is not None}
    return sorted((strength.get(unit, inf), unit) for unit in units)


def _cursor(key: Key) -> str:
    return encode_cursor(None if key[0] == inf else key[0], key[1])


def _pictures(
    session: Session, layer: Layer, recipe: RecipeItem | None, seed: int, units: Sequence[int]
) -> dict[int, Shown]:
    if recipe is None or not units:
        return {}
    mine = (Picture.layer_id == layer.id, Picture.recipe_hash == recipe.hash, Picture.seed == seed)
    # A list of thousands costs more than the rows in between that nobody asked for.
    few = len(units) <= MOST_LISTED
    these = Picture.unit.in_(units) if few else Picture.unit.between(min(units), max(units))
    rows = session.connection().execute(shown_pictures().where(*mine, these)).all()
    return {picture.unit: picture for picture in map(Shown._make, rows)}


def _seeds(session: Session, layer: Layer, recipe: RecipeItem | None) -> int:
    if recipe is None:
        return 0
    highest = select(func.max(Picture.seed)).where(Picture.layer_id == layer.id, Picture.recipe_hash == recipe.hash)
    found = session.scalar(highest)
    return 0 if found is None else found + 1


def _by_recipe(pictures: Sequence[PictureView]) -> tuple[RecipePictures, ...]:
    ordered = sorted(pictures, key=lambda picture: (shown_order(picture.recipe), picture.seed))
    groups = groupby(ordered, key=lambda picture: picture.recipe)
    return tuple(RecipePictures(recipe=recipe, pictures=tuple(each)) for recipe, each in groups)
