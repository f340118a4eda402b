"""What a request carries: texts that can be stored, bodies that are JSON and not too large."""

from typing import cast

from flask import request

from api.bodies import JsonRequest
from api.problems import BadRequest, UnsupportedMediaType
from api.services import services

ARCHIVE_TYPES = ("application/zip", "application/x-tar", "application/gzip", "application/octet-stream")
UPLOADS = {
    "probe_sets.add_images": ARCHIVE_TYPES,
}
"""Endpoints whose body is a file, and the types that it may be sent as. No form of another site can send these."""


def check_size() -> None:
    """Refuse a body over the limit by its announced length; a chunked one is counted as it is read."""
    if request.endpoint in UPLOADS:
        request.max_content_length = services().settings.max_archive_bytes
    limit = request.max_content_length
    if limit is not None and (request.content_length or 0) > limit:
        cast(JsonRequest, request).refuse()


def check_text() -> None:
    """Refuse NUL characters in addresses, which no database stores."""
    if "\0" in request.path or any("\0" in value for value in request.args.values()):
        raise BadRequest("The address holds a NUL character.", "Leave it out.")


def check_media_type() -> None:
    """A body sent to the API is JSON, or a file where one is expected. Another site's form can send neither."""
    has_body = bool(request.content_length) or request.headers.get("Transfer-Encoding")
    if not request.path.startswith("/api/") or not has_body:
        return
    files = UPLOADS.get(request.endpoint or "")
    if request.mimetype not in files if files else not request.is_json:
        wanted = " or ".join(files or ("application/json",))
        raise UnsupportedMediaType(
            f"The body is {request.mimetype or 'of no stated type'!r}.", f"Send {wanted} in Content-Type."
        )
