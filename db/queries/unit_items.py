"""A unit in a grid or strip: what every list of units shows of one."""

from typing import NamedTuple

from sqlalchemy import Select, select

from db.models import Layer, Network, Picture, PictureState
from db.queries.paging import Finite, View
from db.queries.pictures import Thumbnail, label_of, thumbnail


class UnitItem(View):
    """A unit in a list, with one picture of it; what that would tell is None while there is no picture."""

    unit: int
    address: str  # layer:unit
    label: str | None
    state: PictureState | None
    activation: Finite
    picture: int | None  # its id
    thumbnail: Thumbnail | None
    width: int | None
    height: int | None


class Shown(NamedTuple):
    """What a list shows of a picture: a row of `shown_pictures`. Whole rows cost twice the time of a large grid."""

    layer_id: int
    id: int
    unit: int
    state: str
    activation: float | None
    sheet: str | None
    sheet_index: int | None
    width: int
    height: int


def shown_pictures() -> Select[tuple[int, int, int, str, float | None, str | None, int | None, int, int]]:
    """Every picture; the columns are the fields of `Shown`."""
    return select(*(getattr(Picture, field) for field in Shown._fields))


def unit_item(network: Network, layer: Layer, unit: int, picture: Shown | None) -> UnitItem:
    """The unit of a layer with its picture, if there is one."""
    return UnitItem(
        unit=unit,
        address=f"{layer.name}:{unit}",  # as core.specs.UnitAddress, which would check what is known
        label=label_of(network, layer, unit),
        state=PictureState(picture.state) if picture else None,
        activation=picture.activation if picture else None,
        picture=picture.id if picture else None,
        thumbnail=thumbnail(picture.sheet, picture.sheet_index) if picture else None,
        width=picture.width if picture else None,
        height=picture.height if picture else None,
    )
