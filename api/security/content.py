"""What a request carries: texts that can be stored, bodies that are JSON and not too large."""

from typing import cast

from flask import request

from api.bodies import JsonRequest
from api.problems import BadRequest, UnsupportedMediaType


def check_size() -> None:
    """Refuse a body over the limit by its announced length; a chunked one is counted as it is read."""
    limit = request.max_content_length
    if limit is not None and (request.content_length or 0) > limit:
        cast(JsonRequest, request).refuse()


def check_text() -> None:
    """Refuse NUL characters in addresses, which no database stores."""
    if "\0" in request.path or any("\0" in value for value in request.args.values()):
        raise BadRequest("The address holds a NUL character.", "Leave it out.")


PICTURES = frozenset({"live.send_frame"})
"""Take a picture as it is."""


def check_media_type() -> None:
    """A body sent to the API is JSON, or a picture. Another site's form cannot send either without asking first."""
    has_body = bool(request.content_length) or request.headers.get("Transfer-Encoding")
    if request.endpoint in PICTURES and request.mimetype.startswith("image/"):
        return
    if request.path.startswith("/api/") and has_body and not request.is_json:
        raise UnsupportedMediaType(
            f"The body is {request.mimetype or 'of no stated type'!r}.", "Send application/json in Content-Type."
        )
