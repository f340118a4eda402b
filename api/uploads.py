"""The few requests whose body is a file: what is larger than other bodies may be, and is no JSON."""

from flask import request
from PIL import Image

from api.services import services
from core.errors import BadPicture
from core.uploads import limits_of, read_upload

ARCHIVES = frozenset({"probe_sets.add_images"})
"""Endpoints that take an archive of pictures."""

ARCHIVE_TYPES = ("application/zip", "application/x-tar", "application/gzip", "application/octet-stream")

PICTURES = frozenset({"searches.search_by_picture", "gallery.send_picture"})
"""Endpoints that take a picture, as it is or in a form."""

FORM_BYTES = 65_536
"""What a form may have beside its file."""


def is_picture() -> bool:
    """Whether the present request may carry a picture."""
    return request.endpoint in PICTURES


def media_types() -> tuple[str, ...]:
    """The types that the present request's body may be sent as, if it is an archive; else none."""
    return ARCHIVE_TYPES if request.endpoint in ARCHIVES else ()


def allow_files() -> None:
    """Let a request that may carry a file be as large as files may be."""
    settings = services().settings
    if is_picture():
        request.max_content_length = settings.max_picture_bytes + FORM_BYTES
    elif request.endpoint in ARCHIVES:
        request.max_content_length = settings.max_archive_bytes


def limit_name() -> str:
    """The setting that limits the present request's body."""
    if request.endpoint in ARCHIVES:
        return "DEEPVIS_MAX_ARCHIVE_BYTES"
    return "DEEPVIS_MAX_PICTURE_BYTES" if is_picture() else "DEEPVIS_MAX_BODY_BYTES"


def read_picture() -> Image.Image:
    """The picture of the present request: its body, or the field "picture" of a form.

    Raises:
        BadPicture: there is none, or `core.uploads` refuses it.
    """
    limits = limits_of(services().settings)
    if request.mimetype != "multipart/form-data":
        return read_upload(request.get_data(), limits, media_type=request.mimetype)
    file = request.files.get("picture")
    if file is None or not file.filename:
        raise BadPicture("No picture was sent.", 'Choose a file, or send one as the field "picture".')
    return read_upload(file.read(limits.most_bytes + 1), limits, filename=file.filename, media_type=file.mimetype)
