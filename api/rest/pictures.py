"""Pictures: provenance, and the file itself."""

import re

from apiflask import APIBlueprint
from flask import Response, url_for

from api.rest.files import PNG, file_responses, immutable, stored
from api.rest.networks import Links
from api.services import services
from core.errors import NotFound
from db.queries import pictures as queries

blueprint = APIBlueprint("pictures", __name__, url_prefix="/api/v1/pictures", tag="Pictures")


class PictureAnswer(queries.PictureView):
    """A picture's provenance. `file` is among the links only if there is a picture."""

    links: Links


@blueprint.get("/<int:picture_id>")
@blueprint.output(PictureAnswer)
def show_picture(picture_id: int) -> PictureAnswer:
    """How a picture came about: weights, unit, recipe, seed, activation, steps, device."""
    return answer(_picture(picture_id))


@blueprint.get("/<int:picture_id>/file")
@blueprint.doc(responses=file_responses("image/png", "The picture"))
def show_file(picture_id: int) -> Response:
    """The picture itself as PNG, at its true size.

    It never changes: caches may keep it for ever, and its entity tag is the SHA-256 of its bytes.
    """
    picture = _picture(picture_id)
    if picture.blob is None:
        words = {"dead": "the unit is dead", "non_finite": "its activation became infinite or not a number"}
        raise NotFound(f"{picture.address} has no picture here: {words.get(picture.state, picture.state)}.")
    key = picture.blob
    return immutable(key, "image/png", lambda: stored(key, PNG), _filename(picture))


def answer(picture: queries.PictureView) -> PictureAnswer:
    """The picture with its links."""
    unit = url_for("units.show_unit", name=picture.network, layer=picture.layer, unit=picture.unit)
    return PictureAnswer(**dict(picture), links={**picture_links(picture), "unit": unit})


def picture_links(picture: queries.PictureView) -> dict[str, str]:
    """Addresses of a picture: itself, its file and the sheet of its thumbnail, if there are any."""
    links = {"self": url_for("pictures.show_picture", picture_id=picture.id)}
    if picture.blob is not None:
        links["file"] = url_for("pictures.show_file", picture_id=picture.id)
    if picture.thumbnail is not None:
        links["sheet"] = url_for("sheets.show_sheet", key=picture.thumbnail.sheet)
    return links


def _picture(picture_id: int) -> queries.PictureView:
    with services().sessions() as session:
        return queries.get_picture(session, picture_id)


def _filename(picture: queries.PictureView) -> str:
    parts = (picture.network, picture.layer, picture.unit, picture.recipe.name, picture.seed)
    return re.sub(r"[^A-Za-z0-9._@-]", "-", "_".join(map(str, parts))) + ".png"
