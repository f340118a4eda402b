"""Pictures that somebody sends: looked at first, decoded second, and never kept as they came.

It stands in `core` because the API, the workers and the method all read pictures from outside, and share no other
room. Needs Pillow, and nothing else.

    image = read_upload(data, limits_of(settings), filename="cat.jpg", media_type="image/jpeg")
    key = store.put(encode_clean(image))
"""

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image, ImageOps

from core.declared import check_declared
from core.errors import BadPicture
from core.picture_formats import NAMES, Broken, Extent, Format, format_of
from core.settings import Settings

DEFAULT_MILLISECONDS = 100
"""For which a frame is shown that does not say it."""


@dataclass(frozen=True)
class Limits:
    """How much a picture from outside may be."""

    most_bytes: int
    most_pixels: int  # of all frames together
    most_frames: int
    most_frame_pixels: int | None = None  # of one frame; None: no more than of all together

    def of_frames(self, most_pixels: int) -> "Limits":
        """The same, with no frame larger than that."""
        return replace(self, most_frame_pixels=most_pixels)


def limits_of(settings: Settings) -> Limits:
    """The limits that the settings give."""
    return Limits(settings.max_picture_bytes, settings.max_picture_pixels, settings.max_picture_frames)


def read_upload(
    data: bytes, limits: Limits, *, filename: str = "", media_type: str = "", shorter_side: int = 0
) -> Image.Image:
    """The picture in `data` (the first frame of an animation) as RGB, upright, without metadata; alpha over white.

    Args:
        filename: what the sender calls it; its suffix, if it has one, must be the format's.
        media_type: what the sender says it is; empty or application/octet-stream says nothing.
        shorter_side: that many pixels are enough: a JPEG that has twice as many or more may come 2, 4 or 8 times
            smaller, which is decoded in less time; 0 for the picture as it is.

    Raises:
        BadPicture: it is no picture of a known format, broken, over a limit, or not what it is said to be.
    """
    return next(read_frames(data, limits, filename=filename, media_type=media_type, shorter_side=shorter_side))


def read_frames(
    data: bytes, limits: Limits, *, filename: str = "", media_type: str = "", shorter_side: int = 0
) -> Iterator[Image.Image]:
    """Every frame of the picture in `data`, one at a time, each as `read_upload` gives it; raises as that does."""
    frames, _ = read_timed_frames(data, limits, filename=filename, media_type=media_type, shorter_side=shorter_side)
    return (image for image, _ in frames)


def read_timed_frames(
    data: bytes, limits: Limits, *, filename: str = "", media_type: str = "", shorter_side: int = 0
) -> tuple[Iterator[tuple[Image.Image, float]], int]:
    """Every frame with the seconds for which it is shown, one at a time, and how many there are; as `read_frames`."""
    if len(data) > limits.most_bytes:
        raise BadPicture(f"The picture has {len(data)} bytes.", f"At most {limits.most_bytes} are accepted.")
    kind = _format(data)
    check_declared(f"a {kind.name}", kind, filename, media_type, BadPicture)
    extent = _extent(data, kind, limits)
    return _decoded(data[: extent.end], kind, extent, limits, shorter_side), extent.frames


def _decoded(
    data: bytes, kind: Format, extent: Extent, limits: Limits, shorter_side: int
) -> Iterator[tuple[Image.Image, float]]:
    with _guarded(), Image.open(io.BytesIO(data), formats=[kind.name]) as image:
        _check_pixels(image, extent.frames, limits)
        if shorter_side:
            _draft(image, shorter_side)
        for number in range(extent.frames):
            if number:
                image.seek(number)
                _check_pixels(image, extent.frames, limits)  # a frame may be larger than the first
            yield _clean(image), float(image.info.get("duration") or DEFAULT_MILLISECONDS) / 1000


def read_file(path: Path, limits: Limits) -> Image.Image:
    """As `read_upload`, from a file; no more than the limit is read of it.

    Raises:
        BadPicture: as `read_upload`, or it cannot be opened.
    """
    try:
        with path.open("rb") as file:
            data = file.read(limits.most_bytes + 1)
    except OSError as error:
        raise BadPicture(f"The picture {path.name} cannot be opened: {error.strerror}.") from error
    return read_upload(data, limits, filename=path.name)


def decoded_pixels(data: bytes, limits: Limits) -> int:
    """Pixels that `read_upload` will decode, by what the file says of itself; 0 if it refuses it beforehand."""
    kind = format_of(data)
    if kind is None or len(data) > limits.most_bytes:
        return 0
    try:
        with _guarded(), Image.open(io.BytesIO(data), formats=[kind.name]) as image:
            pixels = image.width * image.height
    except BadPicture:
        return 0
    return pixels if pixels <= _most_pixels(limits) else 0


def encode_clean(image: Image.Image) -> bytes:
    """What is kept of a picture from outside: a PNG of its pixels and of nothing else that was in the file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()


def encode_thumbnail(data: bytes, pixels: int) -> bytes:
    """A WebP of at most `pixels` x `pixels` of the picture in `data`, which `read_upload` has accepted before.

    Raises:
        BadPicture: it has not been: it cannot be decoded.
    """
    buffer = io.BytesIO()
    with _guarded(), Image.open(io.BytesIO(data)) as image:
        image.draft(
            "RGB", (2 * pixels, 2 * pixels)
        )  # a large JPEG is decoded small, which takes a fraction of the time
        image.thumbnail((2 * pixels, 2 * pixels))
        small = _clean(image)
        small.thumbnail((pixels, pixels))
        small.save(buffer, "WEBP", quality=80)
    return buffer.getvalue()


# --- what it is, and how much ----------------------------------------------------------


def _format(data: bytes) -> Format:
    kind = format_of(data)
    if kind is None:
        text = data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")
        what = "a document (such as SVG)" if text else "no picture of a known format"
        raise BadPicture(f"The file is {what}.", f"Use one of {NAMES}.")
    return kind


def _extent(data: bytes, kind: Format, limits: Limits) -> Extent:
    """Where the picture ends; something else behind it may be an archive, a page or a program."""
    try:
        extent = kind.measure(data, limits.most_frames)
    except Broken as error:
        raise BadPicture(f"The {kind.name} is broken: {error}.", "Check that the file is whole.") from error
    if extent.frames > limits.most_frames:
        raise BadPicture(f"The picture has more than {limits.most_frames} frames.", "Send fewer of them.")
    if data[extent.end :].strip(b"\0"):
        behind = len(data) - extent.end
        raise BadPicture(f"Behind the {kind.name} the file has {behind} bytes of something else.", "Save it anew.")
    return extent


def _check_pixels(image: Image.Image, frames: int, limits: Limits) -> None:
    pixels = image.width * image.height
    if pixels * frames > limits.most_pixels or pixels > (limits.most_frame_pixels or pixels):
        times = f" in {frames} frames" if frames > 1 else ""
        raise BadPicture(
            f"The picture has {image.width} x {image.height} pixels{times}.",
            f"At most {_most_pixels(limits)} pixels are accepted; scale it down.",
        )


def _most_pixels(limits: Limits) -> int:
    return min(limits.most_pixels, limits.most_frame_pixels or limits.most_pixels)


# --- decoding ----------------------------------------------------------------------------


def _draft(image: Image.Image, shorter_side: int) -> None:
    """Have a JPEG decoded smaller, with no side of it below `shorter_side`; other formats know no such thing."""
    share = shorter_side / min(image.size)
    image.draft("RGB", (math.ceil(image.width * share), math.ceil(image.height * share)))


def _clean(image: Image.Image) -> Image.Image:
    upright = ImageOps.exif_transpose(image)
    pixels = Image.new("RGB", upright.size, "white")
    if upright.mode == "I;16":
        pixels.paste(upright.convert("I").point(lambda value: value * (1 / 256)).convert("L"))
    elif upright.has_transparency_data:
        layer = upright.convert("RGBA")
        pixels.paste(layer, mask=layer)
    else:
        pixels.paste(upright.convert("RGB"))
    return pixels


@contextmanager
def _guarded() -> Iterator[None]:
    try:
        yield
    except BadPicture:
        raise
    except Exception as error:  # a broken file makes image readers raise nearly anything
        reason = (str(error).splitlines() or [""])[0].rstrip(".") or type(error).__name__
        raise BadPicture(f"The picture cannot be decoded: {reason}.", "Check that the file is whole.") from error
