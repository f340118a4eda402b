"""The units of a layer, and one unit with all its pictures."""

from typing import Literal

from apiflask import APIBlueprint
from flask import url_for
from pydantic import BaseModel, Field
from sqlalchemy.orm import Session

from api.rest.networks import Links
from api.rest.paging import PageQuery, link_header
from api.rest.pictures import PictureAnswer
from api.rest.pictures import answer as picture_answer
from api.services import services
from core.errors import NotDescribed
from core.specs import MAX_SEEDS, LayerInfo
from db import networks
from db.models import NetworkState
from db.queries import units as queries
from db.queries.recipes import RecipeItem

blueprint = APIBlueprint("units", __name__, url_prefix="/api/v1/networks/<name>/layers/<path:layer>/units", tag="Units")


class UnitQuery(PageQuery):
    """Which units, and which picture of each."""

    sort: Literal["unit", "activation"] = Field(
        default="unit", description="By number, or by activation with the strongest response first"
    )
    q: str = Field(default="", max_length=100, description="Part of the unit's label, in either case")
    recipe: str | None = Field(
        default=None, max_length=64, description="Hash or name of the recipe shown; none: the first there is"
    )
    seed: int = Field(default=0, ge=0, lt=MAX_SEEDS, description="Seed of the picture shown")


class UnitListItem(queries.UnitItem):
    """A unit with the picture of one recipe and seed."""

    links: Links


class UnitPage(BaseModel):
    """A page of a layer's units."""

    network: str
    layer: LayerInfo
    recipe: RecipeItem | None = Field(description="Whose pictures are shown; null while the layer has none")
    recipes: list[RecipeItem] = Field(description="Those the layer has pictures of")
    seed: int
    seeds: int = Field(description="How many seeds that recipe has pictures of")
    total: int = Field(description="Units that match")
    items: list[UnitListItem]
    next_cursor: str | None = Field(default=None, description="Asks for the next page; null on the last one")


class RecipePictures(BaseModel):
    """A unit's pictures of one recipe, by seed."""

    recipe: RecipeItem
    pictures: list[PictureAnswer]


class UnitAnswer(BaseModel):
    """A unit with every picture of it."""

    network: str
    weights_hash: str
    layer: LayerInfo
    unit: int
    address: str = Field(description="layer:unit")
    label: str | None
    recipes: list[RecipePictures]
    links: Links


@blueprint.get("")
@blueprint.input(UnitQuery, location="query")
@blueprint.output(UnitPage)
def list_units(name: str, layer: str, query_data: UnitQuery) -> tuple[UnitPage, int, dict[str, str]]:
    """The units of a layer, each with its picture of one recipe and seed, also those without one yet."""
    with services().sessions() as session:
        _check_described(session, name)
        page = queries.list_units(
            session,
            name,
            layer,
            shown=query_data.recipe,
            **query_data.model_dump(exclude={"recipe"}),
        )
    items = [UnitListItem(**dict(item), links=_item_links(name, layer, item)) for item in page.items]
    return UnitPage(**{**dict(page), "items": items}), 200, link_header(page.next_cursor)


@blueprint.get("/<int:unit>")
@blueprint.output(UnitAnswer)
def show_unit(name: str, layer: str, unit: int) -> UnitAnswer:
    """One unit with every picture of it and their provenance."""
    with services().sessions() as session:
        _check_described(session, name)
        view = queries.get_unit(session, name, layer, unit)
    recipes = [
        RecipePictures(recipe=one.recipe, pictures=[picture_answer(p) for p in one.pictures]) for one in view.recipes
    ]
    fields = {field: getattr(view, field) for field in ("network", "weights_hash", "layer", "unit", "address", "label")}
    return UnitAnswer(**fields, recipes=recipes, links=_unit_links(view))


def _check_described(session: Session, name: str) -> None:
    state = networks.find(session, name).state
    if state not in {NetworkState.DESCRIBED, NetworkState.FAILED}:
        raise NotDescribed(name)


def _item_links(name: str, layer: str, item: queries.UnitItem) -> dict[str, str]:
    links = {"self": _address(name, layer, item.unit)}
    if item.picture is not None:
        links["picture"] = url_for("pictures.show_picture", picture_id=item.picture)
    if item.thumbnail is not None and item.picture is not None:
        links["file"] = url_for("pictures.show_file", picture_id=item.picture)
        links["sheet"] = url_for("sheets.show_sheet", key=item.thumbnail.sheet)
    return links


def _unit_links(unit: queries.UnitView) -> dict[str, str]:
    near = {"previous": unit.previous, "next": unit.next}
    return {
        "self": _address(unit.network, unit.layer.name, unit.unit),
        **{word: _address(unit.network, unit.layer.name, n) for word, n in near.items() if n is not None},
        "layer": url_for("networks.show_layer", name=unit.network, layer=unit.layer.name),
        "gallery": _address(unit.network, unit.layer.name, unit.unit).removeprefix("/api/v1"),
    }


def _address(name: str, layer: str, unit: int) -> str:
    return url_for("units.show_unit", name=name, layer=layer, unit=unit)
