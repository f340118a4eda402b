"""Where a part of a network's input lies in the picture that it was made of."""

import numpy as np
import pytest
from PIL import Image

from deepvis.inputs import in_whole_image, prepare
from deepvis.windows import Box

INPUT = (3, 48, 48)


def ramps(width: int, height: int) -> Image.Image:
    """A picture whose red says how far across a pixel is, and whose green how far down, 0..255."""
    across = np.broadcast_to((np.arange(width) + 0.5) / width, (height, width))
    down = np.broadcast_to(((np.arange(height) + 0.5) / height)[:, None], (height, width))
    return Image.fromarray((255 * np.stack([across, down, 0 * down], -1)).round().astype(np.uint8))


@pytest.mark.parametrize("size", [(48, 48), (64, 64), (200, 100), (90, 170), (30, 40)])
@pytest.mark.parametrize("box", [Box(0, 0, 48, 48), Box(10, 20, 21, 40)])
def test_the_pixels_there_are_the_box_of_the_input(size: tuple[int, int], box: Box) -> None:
    shown = prepare(ramps(*size), INPUT)[box.top : box.bottom, box.left : box.right].astype(float) / 255
    left, top, width, height = in_whole_image(box, size, INPUT)
    assert shown[..., 0].mean() * size[0] == pytest.approx(left + width / 2, abs=0.01 * size[0])
    assert shown[..., 1].mean() * size[1] == pytest.approx(top + height / 2, abs=0.01 * size[1])
    per_pixel = (shown[0, -1, 0] - shown[0, 0, 0]) * size[0] / (box.right - box.left - 1)
    assert per_pixel == pytest.approx(width / (box.right - box.left), rel=0.05)


def test_a_box_beyond_the_input_is_beyond_it_there_too() -> None:
    inner, outer = (in_whole_image(box, (96, 96), INPUT) for box in (Box(0, 0, 48, 48), Box(-6, -6, 54, 48)))
    assert outer[0] < inner[0]
    assert outer[1] < inner[1]
    assert outer[2] / inner[2] == pytest.approx(54 / 48)
