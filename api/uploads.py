"""The requests that carry a file: multipart forms, with limits of their own.

A form of another site's page can send such a body, where it cannot send JSON; `api.security.forgery` refuses it by what
the browser says of its origin.
"""

from flask import request

from api.services import services

UPLOADS = {
    "activations.create_activations": "max_picture_bytes",
    "recordings.create_recording": "max_video_bytes",
}
"""Endpoint -> the setting that limits its file."""
FORM_BYTES = 65_536
"""Beside the file: fields and the boundaries between them."""
MEDIA_TYPE = "multipart/form-data"


def limiting_setting() -> str:
    """The setting that limits the present request's body."""
    return UPLOADS.get(request.endpoint or "", "max_body_bytes")


def is_upload() -> bool:
    """Whether the present request may carry a file."""
    return request.endpoint in UPLOADS


def allow_file() -> None:
    """Give a request that may carry a file the room for it."""
    if is_upload():
        request.max_content_length = getattr(services().settings, limiting_setting()) + FORM_BYTES
