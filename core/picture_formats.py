"""The image formats that are taken from outside: how each begins, where it ends, and how much is in it.

Only headers and the lengths of blocks are read here, nothing is decoded. A format whose end cannot be computed, such as
TIFF, is not taken: whatever else is in such a file could not be told from the picture.
"""

from collections.abc import Callable
from dataclasses import dataclass

MOST_SCANS = 32
"""A progressive JPEG has about ten; each more costs the decoder the whole picture again for a few bytes."""


class Broken(ValueError):
    """The blocks of a file do not follow each other as its format has it; the text says where."""


@dataclass(frozen=True)
class Extent:
    """How far a picture reaches in its file."""

    end: int  # bytes from the start
    frames: int = 1  # no more than one over the limit are counted


@dataclass(frozen=True)
class Format:
    """An image format; `name` is also that of Pillow's plugin."""

    name: str
    media_types: tuple[str, ...]
    suffixes: tuple[str, ...]
    begins: Callable[[bytes], bool]
    measure: Callable[[bytes, int], Extent]


def measure_png(data: bytes, most_frames: int) -> Extent:
    """Chunk after chunk up to IEND; an animation says how many frames it has."""
    place, frames = 8, 1
    while True:
        kind = _part(data, place + 4, 4)
        length = _number(data, place, 4, "big")
        if kind == b"acTL":
            frames = _number(data, place + 8, 4, "big")
            if frames == 0:
                raise Broken("it is an animation of no frames")
        place += 12 + length
        if kind == b"IEND":
            return _extent(data, place, min(frames, most_frames + 1))


def measure_jpeg(data: bytes, most_frames: int) -> Extent:
    """Segment after segment up to the end marker; then more whole JPEGs, as some cameras append previews."""
    place = _end_of_jpeg(data, 0)
    while data[place : place + 3] == b"\xff\xd8\xff":
        place = _end_of_jpeg(data, place)
    return _extent(data, place)


def _end_of_jpeg(data: bytes, place: int) -> int:
    place, scans = place + 2, 0
    while True:
        place = _skip_to_marker(data, place)
        kind = data[place + 1]
        if kind == 0xD9:
            return place + 2
        place += 2 + _number(data, place + 2, 2, "big")
        if kind == 0xDA:
            scans += 1
            if scans > MOST_SCANS:
                raise Broken(f"it has more than {MOST_SCANS} scans")


def _skip_to_marker(data: bytes, place: int) -> int:
    """The next marker: 0xFF and a byte that is no stuffing, fill or restart."""
    while True:
        place = data.find(b"\xff", place)
        if place < 0 or place + 1 >= len(data):
            raise Broken("its end is missing")
        kind = data[place + 1]
        if kind == 0xFF:
            place += 1
        elif kind in {0x00, 0x01} or 0xD0 <= kind <= 0xD8:
            place += 2
        else:
            return place


def measure_gif(data: bytes, most_frames: int) -> Extent:
    """Block after block up to the trailer."""
    place, frames = 13 + _colour_table(data, 10), 0
    while True:
        match _part(data, place, 1):
            case b";":
                return _extent(data, place + 1, frames)
            case b"!":
                place = _skip_blocks(data, place + 2)
            case b",":
                frames += 1
                if frames > most_frames:
                    return _extent(data, len(data), frames)
                place = _skip_blocks(data, place + 11 + _colour_table(data, place + 9))
            case _:
                raise Broken(f"there is no block at byte {place}")


def _colour_table(data: bytes, flags_at: int) -> int:
    """Bytes of the colour table that a byte of flags announces."""
    flags = _part(data, flags_at, 1)[0]
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _skip_blocks(data: bytes, place: int) -> int:
    while length := _part(data, place, 1)[0]:
        place += 1 + length
    return place + 1


def measure_webp(data: bytes, most_frames: int) -> Extent:
    """As long as its first chunk says; an animation has a chunk for each frame."""
    end = 8 + _number(data, 4, 4, "little")
    extent = _extent(data, end)
    place, frames = 12, 0
    while place < end and frames <= most_frames:
        frames += _part(data, place, 4) == b"ANMF"
        length = _number(data, place + 4, 4, "little")
        place += 8 + length + length % 2
    return Extent(extent.end, max(frames, 1))


def measure_bmp(data: bytes, most_frames: int) -> Extent:
    """From the header: where the rows begin, and how many bytes they are."""
    start, header = _number(data, 10, 4, "little"), _number(data, 14, 4, "little")
    if header == 12:  # the oldest kind
        width, height, bits, packed = *(_number(data, at, 2, "little") for at in (18, 20, 24)), 0
    else:
        width, height = (abs(int.from_bytes(_part(data, at, 4), "little", signed=True)) for at in (18, 22))
        bits, packed = _number(data, 28, 2, "little"), _number(data, 30, 4, "little")
    if packed in {1, 2}:  # run lengths: only the header says how many bytes
        return _extent(data, start + _number(data, 34, 4, "little"))
    return _extent(data, start + (width * bits + 31) // 32 * 4 * height)


def _extent(data: bytes, end: int, frames: int = 1) -> Extent:
    if end > len(data):
        raise Broken(f"it should have {end} bytes and has {len(data)}")
    return Extent(end, frames)


def _part(data: bytes, place: int, length: int) -> bytes:
    part = data[place : place + length]
    if len(part) < length:
        raise Broken("its end is missing")
    return part


def _number(data: bytes, place: int, length: int, order: str) -> int:
    return int.from_bytes(_part(data, place, length), "little" if order == "little" else "big")


FORMATS = (
    Format(
        "JPEG",
        ("image/jpeg", "image/jpg", "image/pjpeg"),
        (".jpg", ".jpeg", ".jpe", ".jfif"),
        lambda data: data.startswith(b"\xff\xd8\xff"),
        measure_jpeg,
    ),
    Format(
        "PNG",
        ("image/png", "image/apng"),
        (".png", ".apng"),
        lambda data: data.startswith(b"\x89PNG\r\n\x1a\n"),
        measure_png,
    ),
    Format(
        "WEBP",
        ("image/webp",),
        (".webp",),
        lambda data: data[:4] == b"RIFF" and data[8:12] == b"WEBP",
        measure_webp,
    ),
    Format("GIF", ("image/gif",), (".gif",), lambda data: data[:6] in {b"GIF87a", b"GIF89a"}, measure_gif),
    Format(
        "BMP", ("image/bmp", "image/x-ms-bmp"), (".bmp", ".dib"), lambda data: data.startswith(b"BM"), measure_bmp
    ),
)  # fmt: skip
NAMES = ", ".join(each.name for each in FORMATS)


def format_of(data: bytes) -> Format | None:
    """The format that the first bytes are of, or None."""
    return next((each for each in FORMATS if each.begins(data)), None)
