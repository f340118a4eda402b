"""Answering with bytes of the picture store that never change."""

import re
from collections.abc import Callable
from typing import Any

from flask import Response, request

from api.services import services
from core.errors import NotFound

YEAR_SECONDS = 365 * 24 * 3600
# The store holds checkpoints too: only what begins as a picture leaves it through an address for pictures.
PNG = re.compile(rb"\x89PNG\r\n\x1a\n")
WEBP = re.compile(rb"RIFF....WEBP", re.DOTALL)


def file_responses(media_type: str, what: str) -> dict[int | str, dict[str, str | dict[str, dict[str, Any]]]]:
    """What the OpenAPI document says of such an answer."""
    return {
        200: {"description": what, "content": {media_type: {}}},
        304: {"description": "The client has it", "content": {}},
    }


def immutable(key: str, content_type: str, read: Callable[[], bytes], filename: str = "") -> Response:
    """The bytes that `read` gives, or 304 without reading if the client has them.

    Args:
        key: SHA-256 of the bytes, which is also their entity tag.
        content_type: their media type.
        read: gives the bytes.
        filename: the name under which a browser saves them, if it should have one.
    """
    known = request.if_none_match.contains_weak(key)
    response = Response(status=304) if known else Response(read(), content_type=content_type)
    response.set_etag(key)
    response.headers["Cache-Control"] = f"private, max-age={YEAR_SECONDS}, immutable"
    if filename and not known:
        response.headers["Content-Disposition"] = f'inline; filename="{filename}"'
    return response


def stored(key: str, kind: re.Pattern[bytes], most_bytes: int | None = None) -> bytes:
    """The bytes in the store under `key`.

    Raises:
        NotFound: there are none, more than `most_bytes`, or they are not of that kind.
    """
    data = services().store.get(key, most_bytes=most_bytes)
    if not kind.match(data):
        raise NotFound(f"There is no picture {key!r}.", "Take the picture's address from a list.")
    return data
