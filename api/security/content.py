"""What a request carries: texts that can be stored, bodies that are JSON or a file where one belongs, not too large."""

from typing import cast

from flask import request

from api import uploads
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


def check_media_type() -> None:
    """A body sent to the API is JSON, unless it is a file. Another site's form cannot send JSON without asking first.

    It could send a file: browsers say where that comes from, and `forgery.check_origin` refuses it.
    """
    if uploads.is_upload() or request.endpoint is None:  # None: there is no such address, or not with this method
        return
    has_body = bool(request.content_length) or request.headers.get("Transfer-Encoding")
    types = uploads.body_types()
    is_taken = request.mimetype in types or (request.is_json and "application/json" in types)
    if request.path.startswith("/api/") and has_body and not is_taken:
        raise UnsupportedMediaType(
            f"The body is {request.mimetype or 'of no stated type'!r}.", f"Send {' or '.join(types)} in Content-Type."
        )
