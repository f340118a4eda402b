"""Reads of what units answer to in the images of a probe set: one unit, and a layer's units."""

from collections.abc import Sequence
from math import prod
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import NotFound
from core.specs import LayerInfo, Side, UnitAddress
from db import networks
from db.models import Layer
from db.probe_models import ProbeImage, ProbePass, TopImage, UnitAnswers, UnitLabel, UnitView
from db.queries.crops import Place, best_crops, first_crops
from db.queries.orders import AnswerSort, answer_ranks, find_layer, find_unit, labelled_units, numbered, part, ranked
from db.queries.paging import Finite, View
from db.queries.passes import PassItem, pass_item, require_pass, shown_pass
from db.queries.pictures import Thumbnail, label_of


class Statistics(View):
    """A unit's answers to all images, in numbers. An answer is its highest activation over an image's positions."""

    mean: Finite
    deviation: Finite
    lowest: Finite
    highest: Finite
    active: Finite  # share of the images with an answer above 0
    sparseness: Finite  # 0..1, of the answers above 0; None where there are none
    selectivity: Finite  # 0..1, for its best label; None without labels
    dead: bool


class Bin(View):
    """Answers from `start` up to `end`; bins without any are left out."""

    start: Finite
    end: Finite
    count: int


class LabelItem(View):
    """A label that a unit prefers."""

    label: str
    mean: Finite  # of its answers to the label's images
    effect: Finite  # (that mean - the mean of all) / the deviation of all


class Box(View):
    """What a crop shows of its whole image, in pixels; it may leave the image."""

    left: float
    top: float
    width: float
    height: float


class TopItem(View):
    """An image that a unit answers to most, or least."""

    side: Side
    rank: int  # from 0
    image: int  # number in the set
    name: str
    label: str | None
    width: int
    height: int
    activation: Finite
    position: tuple[int, ...] | None  # (row, column) of the highest activation; None: there are no positions
    box: Box | None  # None: the whole image, or not known


class ViewItem(View):
    """A unit's top images as one picture: crops, or their backward views, by rank, `columns` in a row."""

    side: Side
    kind: str  # "crop", or a `core.specs.BackwardKind`
    blob: str | None  # its key in the store; None: `why` there is none
    why: str | None
    columns: int
    count: int
    width: int  # of each, in pixels
    height: int


class SimilarItem(View):
    """A unit that answers much like another."""

    layer: str
    unit: int
    address: str
    label: str | None
    correlation: Finite
    thumbnail: Thumbnail | None


class UnitAnswersView(View):
    """What a unit answers to in a probe set."""

    probe: PassItem
    layer: LayerInfo
    unit: int
    address: str
    label: str | None
    statistics: Statistics
    histogram: tuple[Bin, ...]
    labels: tuple[LabelItem, ...]  # the most preferred first
    images: tuple[TopItem, ...]  # top ones first, by rank
    views: tuple[ViewItem, ...]
    similar: tuple[SimilarItem, ...]  # the nearest first


class AnswersItem(View):
    """A unit in a list, with its best crop."""

    unit: int
    address: str
    label: str | None
    thumbnail: Thumbnail | None
    statistics: Statistics | None  # None: the pass did not look at it


class AnswersPage(View):
    """A page of a layer's units by what they answer."""

    probe: PassItem
    layer: LayerInfo
    total: int
    items: tuple[AnswersItem, ...]
    next_cursor: str | None


class CropItem(View):
    """A unit in a strip, by the crop of its top image."""

    unit: int
    label: str | None
    thumbnail: Thumbnail


class CropStrip(View):
    """A layer with the first units that have crops."""

    layer: LayerInfo
    items: tuple[CropItem, ...]


_NUMBERS = tuple(Statistics.model_fields)
_COLUMNS = [getattr(UnitAnswers, name) for name in _NUMBERS]


def get_answers(session: Session, network: str, layer: str, unit: int, set_name: str | None = None) -> UnitAnswersView:
    """What a unit answers to in the images of the set named, or of the latest pass that looked at its layer.

    Raises:
        UnknownNetwork, UnknownLayer: a name is not there.
        UnitOutOfRange: the layer has fewer units.
        NotFound, Conflict: there is no pass over that set with that unit.
    """
    found = find_unit(session, network, layer, unit)
    row = require_pass(session, network, set_name, found)
    answers = session.get(UnitAnswers, (row.id, found.id, unit))
    if answers is None:
        raise NotFound("The pass did not look at this unit.", f"`deepvis probe run {network} SET --wait` looks at all.")
    return _whole(session, found, row, answers)


def find_answers(
    session: Session, network: str, layer: str, unit: int, set_name: str | None = None
) -> UnitAnswersView | None:
    """As `get_answers`; over the latest pass if none is over that set, and None if there is none at all.

    Raises:
        UnknownNetwork, UnknownLayer: a name is not there.
        UnitOutOfRange: the layer has fewer units.
    """
    found = find_unit(session, network, layer, unit)
    row = shown_pass(session, network, found.id, set_name or "")
    answers = session.get(UnitAnswers, (row.id, found.id, unit)) if row else None
    return _whole(session, found, row, answers) if row and answers else None


def _whole(session: Session, layer: Layer, row: ProbePass, answers: UnitAnswers) -> UnitAnswersView:
    views = _views(session, answers)
    info = LayerInfo.model_validate(layer.info)
    return UnitAnswersView(
        probe=pass_item(row),
        layer=info,
        unit=answers.unit,
        address=str(UnitAddress(layer=layer.name, unit=answers.unit)),
        label=label_of(layer.network, layer, answers.unit),
        statistics=Statistics(**{name: getattr(answers, name) for name in _NUMBERS}),
        histogram=tuple(Bin(start=start, end=end, count=count) for start, end, count in answers.histogram),
        labels=_labels(session, answers, row.set.labels),
        images=_images(session, answers, row, info, views),
        views=tuple(_view(view) for view in views),
        similar=_similar(session, answers, layer),
    )


def list_answers(  # noqa: PLR0913  # all that a page of units can be asked for
    session: Session,
    network: str,
    layer: str,
    *,
    set_name: str | None = None,
    sort: AnswerSort | None = None,
    q: str = "",
    limit: int = 100,
    cursor: str | None = None,
) -> AnswersPage:
    """A layer's units with what they answer and their best crop, by number unless sorted.

    `q` keeps those whose label contains it.

    Raises:
        UnknownNetwork, UnknownLayer: a name is not there.
        NotFound, Conflict: there is no pass over that set with that layer.
        InvalidRequest: the cursor is not one of this list.
    """
    found = find_layer(session, network, layer)
    row = require_pass(session, network, set_name, found)
    units = labelled_units(found, q)
    keys = numbered(units) if sort is None else ranked(units, answer_ranks(session, row.id, found.id, sort))
    page, following = part(keys, limit, cursor)
    numbers = statistics_of(session, row.id, found.id, page)
    crops = best_crops(session, row.id, [(found.id, unit) for unit in page])
    items = (
        AnswersItem(
            unit=unit,
            address=str(UnitAddress(layer=layer, unit=unit)),
            label=label_of(found.network, found, unit),
            thumbnail=crops.get((found.id, unit)),
            statistics=numbers.get(unit),
        )
        for unit in page
    )
    info = LayerInfo.model_validate(found.info)
    return AnswersPage(probe=pass_item(row), layer=info, total=len(units), items=tuple(items), next_cursor=following)


def crop_strip(session: Session, network: str, pass_id: int, *, limit: int = 16) -> tuple[CropStrip, ...]:
    """Every layer in forward order, each with the crops of its first units in a pass.

    Raises:
        UnknownNetwork: there is no such network.
    """
    found = networks.find(session, network)
    crops = first_crops(session, pass_id, [layer.id for layer in found.layers], limit)
    return tuple(
        CropStrip(
            layer=LayerInfo.model_validate(layer.info),
            items=tuple(
                CropItem(unit=unit, label=label_of(found, layer, unit), thumbnail=crop)
                for unit, crop in crops[layer.id].items()
            ),
        )
        for layer in found.layers
    )


def statistics_of(session: Session, pass_id: int, layer_id: int, units: Sequence[int]) -> dict[int, Statistics]:
    """The statistics of some units of a layer, without their histograms."""
    rows = select(UnitAnswers.unit, *_COLUMNS).where(
        UnitAnswers.pass_id == pass_id, UnitAnswers.layer_id == layer_id, UnitAnswers.unit.in_(units)
    )
    return {unit: Statistics(**dict(zip(_NUMBERS, told, strict=True))) for unit, *told in session.execute(rows)}


# --- the parts of one unit's answers ---------------------------------------------------------


def _of(table: Any, answers: UnitAnswers) -> tuple[Any, ...]:
    """The rows of `table` that are about the unit."""
    return (
        table.pass_id == answers.pass_id,
        table.layer_id == answers.layer_id,
        table.unit == answers.unit,
    )


def _labels(session: Session, answers: UnitAnswers, names: Sequence[str]) -> tuple[LabelItem, ...]:
    rows = session.scalars(select(UnitLabel).where(*_of(UnitLabel, answers)).order_by(UnitLabel.rank))
    return tuple(LabelItem(label=names[row.label], mean=row.mean, effect=row.effect) for row in rows)


def _views(session: Session, answers: UnitAnswers) -> Sequence[UnitView]:
    return session.scalars(select(UnitView).where(*_of(UnitView, answers)).order_by(UnitView.side.desc())).all()


def _view(row: UnitView) -> ViewItem:
    return ViewItem(
        side=Side(row.side),
        kind=row.kind,
        blob=row.blob,
        why=row.why,
        columns=row.columns,
        count=row.count,
        width=row.width,
        height=row.height,
    )


def _images(
    session: Session, answers: UnitAnswers, row: ProbePass, layer: LayerInfo, views: Sequence[UnitView]
) -> tuple[TopItem, ...]:
    boxes = {view.side: view.boxes for view in views if view.kind == "crop"}
    same_image = (ProbeImage.set_id == row.set_id) & (ProbeImage.number == TopImage.image)
    statement = select(TopImage, ProbeImage).join(ProbeImage, same_image).where(*_of(TopImage, answers))
    rows = session.execute(statement.order_by(TopImage.side.desc(), TopImage.rank))
    return tuple(_image(top, image, row.set.labels, layer, boxes.get(top.side, ())) for top, image in rows)


def _image(
    top: TopImage, image: ProbeImage, names: Sequence[str], layer: LayerInfo, boxes: Sequence[Sequence[float]]
) -> TopItem:
    box = boxes[top.rank] if top.rank < len(boxes) else None
    return TopItem(
        side=Side(top.side),
        rank=top.rank,
        image=top.image,
        name=image.name,
        label=None if image.label is None else names[image.label],
        width=image.width,
        height=image.height,
        activation=top.activation,
        position=_position(top.position, layer),
        box=Box(left=box[0], top=box[1], width=box[2], height=box[3]) if box else None,
    )


def _position(index: int, layer: LayerInfo) -> tuple[int, ...] | None:
    """A row-major index into the layer's positions -> (row, column)."""
    axes = len(layer.output_shape)
    sizes = [size for axis, size in enumerate(layer.output_shape) if axis != layer.unit_axis % axes]
    if index < 0 or not sizes:
        return None
    return tuple(index // prod(sizes[axis + 1 :]) % sizes[axis] for axis in range(len(sizes)))


def _similar(session: Session, answers: UnitAnswers, layer: Layer) -> tuple[SimilarItem, ...]:
    places = [Place(layer_id, unit) for layer_id, unit, _ in answers.similar]
    crops = best_crops(session, answers.pass_id, places)
    layers = {each.id: each for each in session.scalars(select(Layer).where(Layer.id.in_({p[0] for p in places})))}
    return tuple(
        SimilarItem(
            layer=layers[layer_id].name,
            unit=unit,
            address=str(UnitAddress(layer=layers[layer_id].name, unit=unit)),
            label=label_of(layer.network, layers[layer_id], unit),
            correlation=correlation,
            thumbnail=crops.get((layer_id, unit)),
        )
        for layer_id, unit, correlation in answers.similar
    )
