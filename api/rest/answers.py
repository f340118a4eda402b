"""What units answer to in the images of a probe set."""

from typing import Literal

from apiflask import APIBlueprint
from flask import url_for
from pydantic import BaseModel, Field

from api.rest.networks import Links
from api.rest.paging import PageQuery, Query, link_header
from api.services import services
from core.specs import LayerInfo
from db.queries import answers as queries
from db.queries.orders import AnswerSort
from db.queries.passes import PassItem, PassList, list_passes

blueprint = APIBlueprint("answers", __name__, url_prefix="/api/v1/networks/<name>", tag="Answers")

SET = Field(default=None, max_length=100, description="Name of a probe set; none: the latest it was run on")


class SetQuery(Query):
    """Which probe set."""

    set: str | None = SET


class AnswersQuery(PageQuery):
    """Which probe set, and the order of units."""

    set: str | None = SET
    sort: Literal["unit", "highest", "selectivity", "sparseness", "dead"] = Field(
        default="unit", description="By number; by the highest answer, selectivity or sparseness; or dead units first"
    )
    q: str = Field(default="", max_length=100, description="Part of the unit's label, in either case")


class TopAnswer(queries.TopItem):
    """An image that a unit answers to most, or least."""

    links: Links


class ViewAnswer(queries.ViewItem):
    """A unit's crops, or one kind of backward view of them. `file` is among the links only if they are there."""

    links: Links


class UnitAnswersAnswer(BaseModel):
    """What a unit answers to in a probe set."""

    probe: PassItem = Field(description="The pass that found it")
    layer: LayerInfo
    unit: int
    address: str = Field(description="layer:unit")
    label: str | None = Field(description="The class it answers for, if any")
    statistics: queries.Statistics
    histogram: list[queries.Bin]
    labels: list[queries.LabelItem] = Field(description="Labels that it prefers, the most preferred first")
    images: list[TopAnswer] = Field(description="Top images by rank, then those it answers to least")
    views: list[ViewAnswer] = Field(description="Pictures of the crops, and of each kind of backward view")
    similar: list[queries.SimilarItem] = Field(description="Units that answer alike, the nearest first")
    links: Links


class AnswersListItem(queries.AnswersItem):
    """A unit in a list, with its best crop."""

    links: Links


class AnswersPage(BaseModel):
    """A page of a layer's units by what they answer."""

    probe: PassItem
    layer: LayerInfo
    total: int = Field(description="Units that match")
    items: list[AnswersListItem]
    next_cursor: str | None = Field(default=None, description="Asks for the next page; null on the last one")


@blueprint.get("/passes")
@blueprint.output(PassList)
def show_passes(name: str) -> PassList:
    """The probe sets that a network was run on: the latest pass over each, the latest first."""
    with services().sessions() as session:
        return PassList(items=list_passes(session, name))


@blueprint.get("/layers/<path:layer>/answers")
@blueprint.input(AnswersQuery, location="query")
@blueprint.output(AnswersPage)
def list_answers(name: str, layer: str, query_data: AnswersQuery) -> tuple[AnswersPage, int, dict[str, str]]:
    """The units of a layer with statistics of their answers, each with its best crop."""
    asked = query_data.model_dump(exclude={"set", "sort"})
    sort = None if query_data.sort == "unit" else AnswerSort(query_data.sort)
    with services().sessions() as session:
        page = queries.list_answers(session, name, layer, set_name=query_data.set, sort=sort, **asked)
    items = [AnswersListItem(**dict(item), links=_item_links(name, layer, item)) for item in page.items]
    return AnswersPage(**{**dict(page), "items": items}), 200, link_header(page.next_cursor)


@blueprint.get("/layers/<path:layer>/units/<int:unit>/answers")
@blueprint.input(SetQuery, location="query")
@blueprint.output(UnitAnswersAnswer)
def show_answers(name: str, layer: str, unit: int, query_data: SetQuery) -> UnitAnswersAnswer:
    """What one unit answers to: statistics, histogram, labels, top images with their views, similar units."""
    with services().sessions() as session:
        found = queries.get_answers(session, name, layer, unit, query_data.set)
    images = [TopAnswer(**dict(image), links=_image_links(found.probe, image)) for image in found.images]
    views = [ViewAnswer(**dict(view), links=_view_links(view)) for view in found.views]
    links = {
        "self": url_for("answers.show_answers", name=name, layer=layer, unit=unit),
        "unit": url_for("units.show_unit", name=name, layer=layer, unit=unit),
    }
    return UnitAnswersAnswer(**{**dict(found), "images": images, "views": views}, links=links)


def _item_links(name: str, layer: str, item: queries.AnswersItem) -> dict[str, str]:
    links = {
        "answers": url_for("answers.show_answers", name=name, layer=layer, unit=item.unit),
        "unit": url_for("units.show_unit", name=name, layer=layer, unit=item.unit),
    }
    if item.thumbnail is not None:
        links["sheet"] = url_for("sheets.show_sheet", key=item.thumbnail.sheet)
    return links


def _image_links(probe: PassItem, image: queries.TopItem) -> dict[str, str]:
    return {"file": f"/api/v1/probe-sets/{probe.set_id}/images/{image.image}/file"}


def _view_links(view: queries.ViewItem) -> dict[str, str]:
    return {"file": url_for("views.show_view", key=view.blob)} if view.blob else {}
