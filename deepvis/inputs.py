"""From picture files to a network's input: how a picture is scaled and cropped, and a loader that reads ahead."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.errors import BadNetwork, BadPicture
from core.uploads import Limits, read_upload
from deepvis.pictures import MOST_BYTES, MOST_FRAMES, Pixels

if TYPE_CHECKING:
    from deepvis.windows import Box

_MARGIN = 8 / 7  # the usual crop: 224 of 256 pixels
_DRAFT = 2  # a JPEG is decoded to no less than this many times the pixels wanted, so that the last scaling decides
_BATCHES_AHEAD = 2
MOST_PIXELS = 64_000_000
NO_LABEL = -1

LIMITS = Limits(MOST_BYTES, MOST_PIXELS, MOST_FRAMES)


@dataclass(frozen=True)
class PictureFile:
    """A picture of a set that has not been read yet."""

    number: int  # its place in the set, from 0
    label: int  # NO_LABEL: none
    read: Callable[[], bytes]  # the file's content; BadPicture for what cannot be had


@dataclass(frozen=True)
class Skipped:
    """A picture that could not be read."""

    number: int
    reason: str


@dataclass(frozen=True)
class Inputs:
    """Pictures of one batch as the network takes them, in the order of their numbers."""

    pixels: NDArray[np.uint8]  # (N, H, W, C), 0..255; N may be 0
    numbers: NDArray[np.int64]  # (N,)
    labels: NDArray[np.int64]  # (N,), NO_LABEL where there is none
    skipped: tuple[Skipped, ...] = ()  # pictures of the same stretch of the set that could not be read


def prepare(image: Image.Image, input_shape: Sequence[int]) -> Pixels:
    """The picture as the network takes it.

    One of exactly the input's size is taken whole. Any other is scaled (bilinear, antialiased) until it just covers
    8/7 of the input, and cropped at its centre: for square inputs the shorter side becomes round(side * 8 / 7).

    Args:
        image: RGB.
        input_shape: (C, H, W); one channel: the picture's luma.

    Returns:
        (H, W, C)

    Raises:
        BadNetwork: the network takes neither grey nor colour pictures.
    """
    channels, height, width = input_shape
    if channels not in (1, 3):
        raise BadNetwork(f"The network's input has {channels} channels.", "Photographs go into 1 or 3 channels.")
    image = image.convert("L" if channels == 1 else "RGB")
    if image.size != (width, height):
        image = _cropped(_scaled(image, height, width), height, width)
    return np.asarray(image).reshape(height, width, channels)


def in_whole_image(box: "Box", size: tuple[int, int], input_shape: Sequence[int]) -> tuple[float, float, float, float]:
    """Where a box of the input lies in the picture that `prepare` made it of.

    Args:
        box: in pixels of the input; it may reach beyond it.
        size: (width, height) of the picture.
        input_shape: (C, H, W)

    Returns:
        (left, top, width, height) in pixels of the picture.
    """
    _, height, width = input_shape
    whole = size == (width, height)
    scaled = size if whole else _scaled_size(size, height, width)
    left, top = (0, 0) if whole else _corner(scaled, height, width)
    across, down = size[0] / scaled[0], size[1] / scaled[1]
    return (
        (box.left + left) * across,
        (box.top + top) * down,
        (box.right - box.left) * across,
        (box.bottom - box.top) * down,
    )


def read_input(data: bytes, input_shape: Sequence[int], limits: Limits = LIMITS) -> Pixels:
    """The picture in the bytes of a file as the network takes it, (H, W, C); see `prepare`.

    Raises:
        BadPicture: the file cannot be read, see `core.uploads.read_upload`.
        BadNetwork: see `prepare`.
    """
    enough = _DRAFT * round(max(input_shape[1:]) * _MARGIN)
    return prepare(read_upload(data, limits, shorter_side=enough), input_shape)


def batches(
    files: Iterable[PictureFile], size: int, input_shape: Sequence[int], *, threads: int = 2, limits: Limits = LIMITS
) -> Iterator[Inputs]:
    """Read pictures in threads, a little ahead of whoever takes them, in batches.

    A batch holds the pictures whose numbers are from a multiple of `size` up to the next: a picture goes through the
    network with the same others, however the set was cut into ranges, as long as it is cut at multiples of `size`.

    Args:
        files: with ascending numbers; taken as they are needed, so that a set of any length fits into memory.
        size: most pictures of a batch.
        input_shape: (C, H, W) of the network.
        threads: how many pictures are decoded at the same time.
        limits: of one file.

    Yields:
        Batches; pictures that raised BadPicture stand in `skipped`. Any other error ends the reading.
    """
    empty = np.zeros((0, *input_shape[1:], input_shape[0]), np.uint8)
    with _pool(threads) as pool:
        waiting: deque[list[tuple[PictureFile, Future[Pixels | Skipped]]]] = deque()
        for _, group in groupby(files, key=lambda file: file.number // size):
            waiting.append([(file, pool.submit(_read, file, input_shape, limits)) for file in group])
            if len(waiting) > _BATCHES_AHEAD:
                yield _collect(waiting.popleft(), empty)
        while waiting:
            yield _collect(waiting.popleft(), empty)


@contextmanager
def _pool(threads: int) -> Iterator[ThreadPoolExecutor]:
    """When the reading ends early, what was not begun is not read."""
    pool = ThreadPoolExecutor(threads, thread_name_prefix="pictures")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _read(file: PictureFile, input_shape: Sequence[int], limits: Limits) -> Pixels | Skipped:
    try:
        return read_input(file.read(), input_shape, limits)
    except BadPicture as error:
        return Skipped(file.number, str(error))


def _collect(group: Sequence[tuple[PictureFile, Future[Pixels | Skipped]]], empty: NDArray[np.uint8]) -> Inputs:
    results = [(file, future.result()) for file, future in group]
    read = [(file, pixels) for file, pixels in results if not isinstance(pixels, Skipped)]
    return Inputs(
        pixels=np.stack([pixels for _, pixels in read]) if read else empty,
        numbers=np.array([file.number for file, _ in read], np.int64),
        labels=np.array([file.label for file, _ in read], np.int64),
        skipped=tuple(result for _, result in results if isinstance(result, Skipped)),
    )


def _scaled(image: Image.Image, height: int, width: int) -> Image.Image:
    size = _scaled_size(image.size, height, width)
    return image if size == image.size else image.resize(size, Image.Resampling.BILINEAR, reducing_gap=None)


def _scaled_size(size: tuple[int, int], height: int, width: int) -> tuple[int, int]:
    """(width, height) that just covers 8/7 of the input."""
    share = max(height * _MARGIN / size[1], width * _MARGIN / size[0])
    return max(width, round(size[0] * share)), max(height, round(size[1] * share))


def _cropped(image: Image.Image, height: int, width: int) -> Image.Image:
    left, top = _corner(image.size, height, width)
    return image.crop((left, top, left + width, top + height))


def _corner(size: tuple[int, int], height: int, width: int) -> tuple[int, int]:
    """(left, top) of the crop at the centre."""
    return round((size[0] - width) / 2), round((size[1] - height) / 2)
