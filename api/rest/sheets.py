"""Sprite sheets of thumbnails, at addresses whose content never changes."""

from apiflask import APIBlueprint
from flask import Response

from api.rest.files import WEBP, file_responses, immutable, stored
from core.errors import NotFound
from core.specs import SHEET_TILES, THUMBNAIL_PIXELS
from store import is_key

blueprint = APIBlueprint("sheets", __name__, url_prefix="/sheets", tag="Pictures")

# What is larger than all its pixels is no sheet but, say, a checkpoint: it is not even read.
MOST_BYTES = 4 * SHEET_TILES * THUMBNAIL_PIXELS**2


@blueprint.get("/<key>.webp")
@blueprint.doc(responses=file_responses("image/webp", "The sheet"))
def show_sheet(key: str) -> Response:
    """A sprite sheet by its SHA-256: tiles of 96 x 96 pixels, 8 in a row, at most 64.

    The unit lists say which tile of which sheet a thumbnail is.
    """
    if not is_key(key):
        raise NotFound(f"There is no sheet {key!r}.", "Take the sheet's address from a unit list.")
    return immutable(key, "image/webp", lambda: stored(key, WEBP, MOST_BYTES))
