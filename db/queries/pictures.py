"""Reads of single pictures, with their provenance."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from core.errors import NotFound
from core.specs import UnitAddress
from db.models import Layer, Network, Picture, PictureState
from db.queries.paging import Finite, View
from db.queries.recipes import RecipeItem, recipe_item

MAX_ID = 2**31 - 1


class Thumbnail(View):
    """A tile of a sprite sheet: the sheet's key in the picture store, and the tile's place in row-major order."""

    sheet: str
    index: int


class PictureView(View):
    """One result and how it came about; `blob` (its key in the store) is None for a dead or non-finite unit."""

    id: int
    network: str
    weights_hash: str
    layer: str
    unit: int
    address: str  # layer:unit
    label: str | None
    recipe: RecipeItem
    seed: int
    state: PictureState
    blob: str | None
    thumbnail: Thumbnail | None
    width: int
    height: int
    activation: Finite  # of the picture
    best_step: int | None  # at which the picture was seen
    strongest_step: int | None  # first step at which the unit was its layer's strongest
    seconds: float
    device: str
    precision: str
    library_version: str
    created_at: datetime


def get_picture(session: Session, picture_id: int) -> PictureView:
    """The picture of that id.

    Raises:
        NotFound: there is none.
    """
    whole = joinedload(Picture.layer).joinedload(Layer.network), joinedload(Picture.recipe)
    known = 0 < picture_id <= MAX_ID  # a database refuses to compare with a larger number
    picture = session.scalar(select(Picture).where(Picture.id == picture_id).options(*whole)) if known else None
    if picture is None:
        raise NotFound(f"There is no picture {picture_id}.", "See the units of a layer for theirs.")
    return picture_view(picture, picture.layer, picture.layer.network)


def picture_view(picture: Picture, layer: Layer, network: Network) -> PictureView:
    """The picture of a row, its layer and network given."""
    return PictureView(
        id=picture.id,
        network=network.name,
        weights_hash=network.weights_hash or "",
        layer=layer.name,
        unit=picture.unit,
        address=str(UnitAddress(layer=layer.name, unit=picture.unit)),
        label=label_of(network, layer, picture.unit),
        recipe=recipe_item(picture.recipe),
        seed=picture.seed,
        state=PictureState(picture.state),
        blob=picture.blob,
        thumbnail=thumbnail(picture.sheet, picture.sheet_index),
        width=picture.width,
        height=picture.height,
        activation=picture.activation,
        best_step=picture.best_step,
        strongest_step=picture.strongest_step,
        seconds=picture.seconds,
        device=picture.device,
        precision=picture.precision,
        library_version=picture.library_version,
        created_at=picture.created_at,
    )


def thumbnail(sheet: str | None, index: int | None) -> Thumbnail | None:
    """Where a picture's thumbnail is, if there is one."""
    return None if sheet is None or index is None else Thumbnail(sheet=sheet, index=index)


def label_of(network: Network, layer: Layer, unit: int) -> str | None:
    """What the unit answers for, if its layer is labelled."""
    labels = network.labels or []
    return labels[unit] if layer.labelled and unit < len(labels) else None
