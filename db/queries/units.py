"""Reads of units: the grid of a layer, and one unit with all its pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload

from core.errors import InvalidRequest
from core.specs import MAX_SEEDS, LayerInfo, UnitAddress
from db.models import Layer, Picture
from db.queries.orders import AnswerSort, answer_ranks, find_layer, find_unit, labelled_units, numbered, part, ranked
from db.queries.paging import View, finite
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
    sort: Literal["unit", "activation"] | AnswerSort = "unit",
    pass_id: int | None = None,
    q: str = "",
    limit: int = 100,
    cursor: str | None = None,
) -> UnitPage:
    """Units of a layer, also those without a picture yet; `q` keeps those whose label contains it.

    Sorted by unit, or by activation with the strongest response first (for a silencing recipe the lowest activation),
    units without one last; or by what they answered in the pass `pass_id`. The recipe `shown` is named by hash or name;
    by default the first that the layer has pictures of.

    Raises:
        UnknownNetwork, UnknownLayer, UnknownRecipe: a name is not there.
        InvalidRequest: the cursor is not one of this list, or there is no such seed.
    """
    what: dict[str, Any] = {"shown": shown, "seed": seed, "sort": sort, "pass_id": pass_id}
    found = find_units(session, network, layer, q=q, limit=limit, cursor=cursor, **what)
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
    sort: Literal["unit", "activation"] | AnswerSort,
    pass_id: int | None,
    q: str,
    limit: int,
    cursor: str | None,
) -> FoundUnits:
    """As `list_units`."""
    if not 0 <= seed < MAX_SEEDS:
        raise InvalidRequest(f"There is no seed {seed}.", f"Seeds are 0 to {MAX_SEEDS - 1}.")
    found = find_layer(session, network, layer)
    recipes = recipes_of_layers(session, [found.id])[found.id]
    recipe = choose_recipe(recipes, shown)
    units = labelled_units(found, q)
    keys = numbered(units)
    if sort == "activation":
        keys = ranked(units, _strengths(session, found, recipe, seed))
    elif isinstance(sort, AnswerSort):
        keys = ranked(units, answer_ranks(session, pass_id, found.id, sort) if pass_id else {})
    page, following = part(keys, limit, cursor)
    return FoundUnits(
        layer=found,
        recipe=recipe,
        recipes=tuple(recipes),
        seeds=_seeds(session, found, recipe),
        total=len(units),
        units=page,
        pictures=_pictures(session, found, recipe, seed, page),
        next_cursor=following,
    )


def get_unit(session: Session, network: str, layer: str, unit: int) -> UnitView:
    """The unit with every picture of it, grouped by recipe, seeds ascending.

    Raises:
        UnknownNetwork, UnknownLayer: a name is not there.
        UnitOutOfRange: the layer has fewer units.
    """
    found = find_unit(session, network, layer, unit)
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


def _strengths(session: Session, layer: Layer, recipe: RecipeItem | None, seed: int) -> dict[int, float]:
    """The units' ranks, the strongest lowest: not sorted here, since units without a picture have no row."""
    if recipe is None:
        return {}
    sign = 1.0 if recipe.direction == "silence" else -1.0
    statement = select(Picture.unit, Picture.activation).where(Picture.activation.is_not(None))
    mine = statement.where(Picture.layer_id == layer.id, Picture.recipe_hash == recipe.hash, Picture.seed == seed)
    return {unit: sign * a for unit, activation in session.execute(mine) if (a := finite(activation)) is not None}


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
