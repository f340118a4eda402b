"""The few requests whose body is a file: what is larger than other bodies may be, and is no JSON."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

from flask import request
from PIL import Image

from api.services import services
from core.errors import BadPicture, StoreUnavailable
from core.picture_formats import FORMATS
from core.uploads import limits_of, read_upload

PICTURES = frozenset({"searches.search_by_picture", "gallery.send_picture"})
"""Endpoints that take a picture, as it is or in a form."""

ARCHIVES = {
    "sets.add_images": ("application/zip", "application/x-tar", "application/gzip", "application/octet-stream"),
    "gallery.add_probe_set": ("multipart/form-data",),
}
"""Endpoints that take an archive, and what it may be sent as."""

FRAMES = frozenset({"live.send_frame"})
"""Endpoints that take a picture no larger than other bodies."""

FORM_BYTES = 65_536
"""What a form may have beside its file."""


PIECE_BYTES = 1_048_576


def is_upload() -> bool:
    """Whether the present request may carry a file."""
    return request.endpoint in PICTURES


def body_types() -> tuple[str, ...]:
    """The media types that the body of the present request, to the API and with no picture, may have."""
    if request.endpoint in FRAMES:
        return tuple(each.media_types[0] for each in FORMATS)
    return ARCHIVES.get(request.endpoint or "", ("application/json",))


def allow_files() -> None:
    """Let a request that may carry a file be as large as such files may be."""
    if is_upload():
        request.max_content_length = services().settings.max_picture_bytes + FORM_BYTES
    if request.endpoint in ARCHIVES:
        request.max_content_length = services().settings.max_archive_bytes + FORM_BYTES


def limit_name() -> str:
    """The setting that limits the present request's body."""
    if request.endpoint in ARCHIVES:
        return "DEEPVIS_MAX_ARCHIVE_BYTES"
    return "DEEPVIS_MAX_PICTURE_BYTES" if is_upload() else "DEEPVIS_MAX_BODY_BYTES"


@contextmanager
def on_disk(stream: IO[bytes]) -> Iterator[Path]:
    """The rest of `stream` as a file, whatever its size, until the end of the block.

    Raises:
        StoreUnavailable: there is no room for it.
    """
    with NamedTemporaryFile(prefix="deepvis-upload-") as file:
        try:
            shutil.copyfileobj(stream, file, PIECE_BYTES)
            file.flush()
        except OSError as error:
            detail = f"The upload cannot be kept for a moment: {error.strerror or error}."
            raise StoreUnavailable(detail, "Make room in the folder for temporary files (TMPDIR).") from error
        yield Path(file.name)


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
