import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.errors import BadPicture
from core.specs import SHEET_COLUMNS, SHEET_TILES, THUMBNAIL_PIXELS
from deepvis.pictures import encode_png, read_picture, sheet, to_image

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("channels", [1, 3])
def test_png_is_lossless(channels: int) -> None:
    pixels = RNG.integers(0, 256, (13, 17, channels), dtype=np.uint8)
    decoded = np.asarray(Image.open(io.BytesIO(encode_png(pixels)))).reshape(pixels.shape)
    np.testing.assert_array_equal(decoded, pixels)


def test_other_channel_counts_stand_side_by_side() -> None:
    pixels = RNG.integers(0, 256, (4, 5, 5), dtype=np.uint8)
    image = np.asarray(to_image(pixels))
    assert image.shape == (8, 15)
    np.testing.assert_array_equal(image[:4, 5:10], pixels[..., 1])
    np.testing.assert_array_equal(image[4:, :5], pixels[..., 3])


def test_sheet_is_row_major_with_clear_tiles_for_missing_pictures() -> None:
    colours = [np.full((7, 7, 3), 20 * i, np.uint8) for i in range(SHEET_COLUMNS + 2)]
    pictures = [None if i == 3 else c for i, c in enumerate(colours)]
    image = np.asarray(Image.open(io.BytesIO(sheet(pictures))).convert("RGBA"))
    assert image.shape == (2 * THUMBNAIL_PIXELS, SHEET_COLUMNS * THUMBNAIL_PIXELS, 4)
    for i in range(len(pictures)):
        y, x = divmod(i, SHEET_COLUMNS)
        middle = image[int((y + 0.5) * THUMBNAIL_PIXELS), int((x + 0.5) * THUMBNAIL_PIXELS)]
        if i == 3:
            assert middle[3] == 0
        else:
            assert abs(int(middle[0]) - 20 * i) <= 4
            assert middle[3] == 255


@pytest.mark.parametrize("count", [0, SHEET_TILES + 1])
def test_a_sheet_has_its_limits(count: int) -> None:
    with pytest.raises(ValueError, match="1 to 64"):
        sheet([None] * count)


def test_reading(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 256, (30, 40, 3), dtype=np.uint8)
    data = encode_png(pixels)
    np.testing.assert_array_equal(read_picture(data, max_pixels=1200), pixels)
    (tmp_path / "picture.png").write_bytes(data)
    np.testing.assert_array_equal(read_picture(tmp_path / "picture.png", max_pixels=1200), pixels)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "such as SVG"),
        (encode_png(RNG.integers(0, 256, (30, 40, 3), dtype=np.uint8))[:900], "its end is missing"),
        (encode_png(np.zeros((50, 50, 3), np.uint8)), "2500|50 x 50"),
    ],
)
def test_bad_pictures_say_why(data: bytes, reason: str) -> None:
    with pytest.raises(BadPicture, match=reason):
        read_picture(data, max_pixels=2000)
