"""Pictures: reading them safely, encoding them, and laying thumbnails out on sprite sheets."""

import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.specs import SHEET_COLUMNS, SHEET_TILES, THUMBNAIL_PIXELS
from core.uploads import Limits, read_file, read_upload

Pixels = NDArray[np.uint8]
"""(H, W, C), 0..255."""

_PNG_LEVEL = 4  # on optimised pictures level 6 takes twice as long for 2 % fewer bytes
_WEBP_METHOD = 0  # of pictures like ours as good, and as small within 7 %, in two thirds of the time of 2
_SMALL = 64  # pixels of a tile's side
MOST_BYTES = 100_000_000
MOST_FRAMES = 1000
"""Of an animation whose first frame is read."""


def to_image(pixels: Pixels) -> Image.Image:
    """A grey or colour image; for other channel counts the channels side by side, each in grey, row-major."""
    channels = pixels.shape[2]
    if channels == 1:
        return Image.fromarray(pixels[..., 0])
    if channels == 3:
        return Image.fromarray(pixels)
    columns = math.ceil(math.sqrt(channels))
    blank = np.zeros((*pixels.shape[:2], -channels % columns), np.uint8)
    panels = np.concatenate([pixels, blank], 2).transpose(2, 0, 1)
    rows = [np.concatenate(list(panels[i : i + columns]), 1) for i in range(0, len(panels), columns)]
    return Image.fromarray(np.concatenate(rows, 0))


def encode_png(pixels: Pixels) -> bytes:
    """Lossless PNG of (H, W, C) pixels."""
    return _encode(to_image(pixels), "PNG", compress_level=_PNG_LEVEL)


def sheet(pictures: Sequence[Pixels | None]) -> bytes:
    """WebP sprite sheet of at most SHEET_TILES pictures, row-major, SHEET_COLUMNS a row; None leaves its tile clear.

    Small windows are enlarged by whole numbers with hard edges; larger pictures are scaled down to the tile.
    """
    if not 0 < len(pictures) <= SHEET_TILES:
        raise ValueError(f"expected 1 to {SHEET_TILES} pictures for a sheet, got {len(pictures)}")
    rows = math.ceil(len(pictures) / SHEET_COLUMNS)
    mode = "RGBA" if any(pixels is None for pixels in pictures) else "RGB"  # what has no clear tile is quicker
    canvas = Image.new(mode, (SHEET_COLUMNS * THUMBNAIL_PIXELS, rows * THUMBNAIL_PIXELS))
    for i, pixels in enumerate(pictures):
        if pixels is not None:
            y, x = divmod(i, SHEET_COLUMNS)
            canvas.paste(_thumbnail(to_image(pixels)), (x * THUMBNAIL_PIXELS, y * THUMBNAIL_PIXELS))
    return _encode(canvas, "WEBP", quality=85, method=_WEBP_METHOD)


def mosaic(tiles: Sequence[Pixels], columns: int) -> bytes:
    """WebP of tiles of one size in rows of `columns`, row-major; lossless where they are small: each pixel counts."""
    if not tiles:
        raise ValueError("expected a tile or more, got none")
    height, width = tiles[0].shape[:2]
    canvas = Image.new("RGB", (columns * width, math.ceil(len(tiles) / columns) * height))
    for i, tile in enumerate(tiles):
        y, x = divmod(i, columns)
        canvas.paste(to_image(tile), (x * width, y * height))
    is_small = max(height, width) < _SMALL
    return _encode(canvas, "WEBP", **({"lossless": 1, "quality": 50} if is_small else {"quality": 85, "method": 2}))


def read_picture(source: Path | bytes, *, max_pixels: int, max_bytes: int = MOST_BYTES) -> Pixels:
    """An image file (the first frame of an animation) as (H, W, 3) pixels, upright; alpha over white.

    Raises:
        BadPicture: it is no image, truncated, of a format not known to be safe, or over a limit.
    """
    limits = Limits(max_bytes, max_pixels, MOST_FRAMES)
    image = read_upload(source, limits) if isinstance(source, bytes) else read_file(source, limits)
    return np.asarray(image)


def _thumbnail(image: Image.Image) -> Image.Image:
    """`image` as a square tile; its middle where it is not square."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    image = image.convert("RGB").crop((left, top, left + side, top + side))
    if side < THUMBNAIL_PIXELS:
        factor = math.ceil(THUMBNAIL_PIXELS / side)
        image = image.resize((side * factor, side * factor), Image.Resampling.NEAREST)
    return image.resize((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS), Image.Resampling.BOX, reducing_gap=2.0)


def _encode(image: Image.Image, kind: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()
