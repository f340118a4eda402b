"""From files to inputs."""

import io
import threading

import numpy as np
import pytest
from PIL import Image

from core.errors import BadNetwork, BadPicture
from deepvis.inputs import NO_LABEL, PictureFile, batches, prepare, read_input


def _picture(width: int, height: int, seed: int = 0) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def _file(image: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def _broken() -> bytes:
    return b"no picture"


def _missing() -> bytes:
    raise BadPicture("It is gone.")


def test_a_picture_of_the_inputs_size_is_taken_whole() -> None:
    image = _picture(20, 16)
    assert np.array_equal(prepare(image, (3, 16, 20)), np.asarray(image))


def test_any_other_is_scaled_to_eight_sevenths_and_cropped() -> None:
    image = _picture(400, 300)
    scaled = image.resize((341, 256), Image.Resampling.BILINEAR)
    expected = np.asarray(scaled)[16:240, 58:282]
    assert np.array_equal(prepare(image, (3, 224, 224)), expected)


def test_a_picture_whose_shorter_side_fits_is_only_cropped() -> None:
    image = _picture(256, 300)
    assert np.array_equal(prepare(image, (3, 224, 224)), np.asarray(image)[38:262, 16:240])


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (2000, 3), (17, 16)])
@pytest.mark.parametrize("shape", [(3, 16, 16), (3, 10, 30), (1, 7, 5)])
def test_any_size_gives_the_input(size: tuple[int, int], shape: tuple[int, int, int]) -> None:
    assert prepare(_picture(*size), shape).shape == (*shape[1:], shape[0])


def test_grey_networks_get_luma() -> None:
    image = Image.new("RGB", (9, 9), (200, 100, 50))
    assert prepare(image, (1, 9, 9)).tolist() == [[[124]] * 9] * 9


def test_other_channels_are_refused() -> None:
    with pytest.raises(BadNetwork, match="4 channels"):
        prepare(_picture(9, 9), (4, 9, 9))


def test_a_large_jpeg_is_decoded_smaller_and_looks_the_same() -> None:
    image = _picture(2400, 1800)
    data = _file(image, "JPEG")
    drafted = read_input(data, (3, 112, 112)).astype(int)
    full = prepare(Image.open(io.BytesIO(data)), (3, 112, 112)).astype(int)
    assert not np.array_equal(drafted, full)
    assert np.abs(drafted - full).max() <= 3


def test_batches_are_aligned_to_multiples_of_their_size() -> None:
    data = _file(_picture(8, 8))
    files = [PictureFile(number, NO_LABEL, lambda: data) for number in range(3, 14)]
    got = [batch.numbers.tolist() for batch in batches(files, 4, (3, 8, 8))]
    assert got == [[3], [4, 5, 6, 7], [8, 9, 10, 11], [12, 13]]


def test_what_cannot_be_read_is_listed_and_the_rest_goes_on() -> None:
    good = [_file(_picture(12, 9, seed)) for seed in range(6)]
    reads = [lambda d=d: d for d in good]
    reads[1], reads[4], reads[5] = _broken, _missing, _broken
    first, second = batches([PictureFile(i, i * 10, read) for i, read in enumerate(reads)], 4, (3, 8, 8))
    assert first.numbers.tolist() == [0, 2, 3]
    assert first.labels.tolist() == [0, 20, 30]
    assert np.array_equal(first.pixels[1], read_input(good[2], (3, 8, 8)))
    assert [(s.number, "no picture of a known format" in s.reason) for s in first.skipped] == [(1, True)]
    assert second.pixels.shape == (0, 8, 8, 3)
    assert [s.number for s in second.skipped] == [4, 5]
    assert second.skipped[0].reason == "It is gone."


def test_other_errors_end_the_reading() -> None:
    def away() -> bytes:
        raise ConnectionError("the store is away")

    with pytest.raises(ConnectionError, match="the store is away"):
        list(batches([PictureFile(0, 0, away)], 4, (3, 8, 8)))


def test_it_reads_ahead_but_not_far() -> None:
    data, asked = _file(_picture(8, 8)), []

    def files():
        for number in range(1000):
            asked.append(number)
            yield PictureFile(number, 0, lambda: data)

    reading = batches(files(), 4, (3, 8, 8), threads=3)
    next(reading)
    assert 8 <= len(asked) <= 20
    before = threading.active_count()
    reading.close()
    assert threading.active_count() < before


def test_nothing_gives_nothing() -> None:
    assert list(batches([], 4, (3, 8, 8))) == []
