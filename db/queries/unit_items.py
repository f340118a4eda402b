"""A unit in a grid or strip: what every list of units shows of one."""

from core.specs import UnitAddress
from db.models import Layer, Network, Picture, PictureState
from db.queries.paging import View
from db.queries.pictures import Thumbnail, label_of, thumbnail_of


class UnitItem(View):
    """A unit in a list, with one picture of it; what that would tell is None while there is no picture."""

    unit: int
    address: str  # layer:unit
    label: str | None
    state: PictureState | None
    activation: float | None
    picture: int | None  # its id
    thumbnail: Thumbnail | None
    width: int | None
    height: int | None


def unit_item(network: Network, layer: Layer, unit: int, picture: Picture | None) -> UnitItem:
    """The unit of a layer with its picture, if there is one."""
    return UnitItem(
        unit=unit,
        address=str(UnitAddress(layer=layer.name, unit=unit)),
        label=label_of(network, layer, unit),
        state=PictureState(picture.state) if picture else None,
        activation=picture.activation if picture else None,
        picture=picture.id if picture else None,
        thumbnail=thumbnail_of(picture),
        width=picture.width if picture else None,
        height=picture.height if picture else None,
    )
