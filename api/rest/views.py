"""Crops of real images and their backward views, at addresses whose content never changes."""

from apiflask import APIBlueprint
from flask import Response

from api.rest.files import WEBP, file_responses, immutable, stored
from core.errors import NotFound
from core.specs import MAX_TOP
from store import is_key

blueprint = APIBlueprint("views", __name__, url_prefix="/views", tag="Pictures")

# What is larger than the most crops of the largest usual input is no view but, say, a checkpoint: it is not even read.
MOST_BYTES = 4 * MAX_TOP * 512**2


@blueprint.get("/<key>.webp")
@blueprint.doc(responses=file_responses("image/webp", "The views"))
def show_view(key: str) -> Response:
    """Crops of a unit's top images, or one kind of backward view of each, side by side, by their SHA-256.

    A unit's answers say how many there are, in rows of how many, and the size of each.
    """
    if not is_key(key):
        raise NotFound(f"There are no views {key!r}.", "Take their address from a unit's answers.")
    return immutable(key, "image/webp", lambda: stored(key, WEBP, MOST_BYTES))
