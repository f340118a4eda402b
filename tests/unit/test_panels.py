"""Answers laid out for people: everything is inside, nothing covers anything, and videos can be read back."""

import av
import numpy as np
import pytest
from PIL import Image

from deepvis.film import Film
from deepvis.panels import LEAST_SIDE, Chance, Panel, Stage, enlarged, to_array, whole_picture

COLOURS = ["red", "lime", "blue", "yellow", "cyan", "magenta", "white"]
CHANCES = [Chance("tabby, tabby cat", 0.75), Chance("a name " * 30, 0.2)]
SEEN = np.full((16, 16, 3), 90, np.uint8)


@pytest.mark.parametrize("sizes", [[(300, 200)] * 7, [(1600, 1600), (40, 900), (2600, 20)], []])
def test_every_grid_stands_whole_in_the_large_picture(sizes: list[tuple[int, int]]) -> None:
    panels = [Panel(f"layer {i}", Image.new("RGB", size, COLOURS[i])) for i, size in enumerate(sizes)]
    whole = to_array(whole_picture("net: cat.png", SEEN, CHANCES, panels))
    for panel in panels:
        colour = np.array(panel.image.getpixel((0, 0)))
        assert (whole == colour).all(2).sum() >= panel.image.width * panel.image.height


def test_small_grids_are_enlarged_with_hard_edges() -> None:
    grid = np.arange(12, dtype=np.uint8).reshape(3, 4, 1)
    large = enlarged(grid)
    factor = large.width // 4
    assert large.size == (4 * factor, 3 * factor) and large.width >= LEAST_SIDE
    assert np.array_equal(to_array(large)[::factor, ::factor, :1], grid)


@pytest.mark.parametrize("layers", [1, 2, 3, 7, 12])
def test_frames_of_a_recording_are_of_one_even_size(layers: int) -> None:
    stage = Stage([f"layer {number}" for number in range(layers)])
    width, height = stage.size
    assert width % 2 == height % 2 == 0
    grids = [np.full((5 + number, 9, 1), 255, np.uint8) for number in range(layers)]
    frame = stage.frame(SEEN, grids, CHANCES, "1.20 s")
    assert frame.size == stage.size
    assert not np.array_equal(to_array(frame), to_array(stage.frame(SEEN, grids, [], "")))


def test_a_film_shows_each_frame_at_its_time(tmp_path) -> None:
    shades, times = [30, 120, 210, 60], [0.0, 0.04, 0.5, 0.5]
    with Film(tmp_path / "a.webm", (64, 32)) as film:
        for shade, seconds in zip(shades, times, strict=True):
            film.add(Image.new("RGB", (64, 32), (shade, shade, shade)), seconds)
    with av.open(str(tmp_path / "a.webm")) as container:
        frames = list(container.decode(video=0))
        assert container.streams.video[0].codec_context.name == "vp9"
    assert [frame.time for frame in frames] == pytest.approx([0, 0.04, 0.5, 0.501])
    assert [to_array(frame.to_image()).mean() for frame in frames] == pytest.approx(shades, abs=6)
