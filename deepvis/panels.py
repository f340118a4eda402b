"""Answers of a network laid out for people: layers' grids with their names, the input and the likeliest classes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from deepvis.pictures import Pixels, to_image

Size = tuple[int, int]
"""(width, height) in pixels."""

GROUND, INK, QUIET, BAR = "#0f1012", "#ece8e1", "#a3a19b", "#e2b462"
MARGIN = 16
TITLE = 26
LINE = 22
MOST_WIDTH = 2400
LEAST_SIDE = 220
"""A grid that is smaller is enlarged by a whole number, with hard edges."""


@dataclass(frozen=True)
class Panel:
    """A picture with its name above it."""

    title: str
    image: Image.Image


@dataclass(frozen=True)
class Chance:
    """A class and its probability, for people."""

    label: str
    probability: float


def enlarged(pixels: Pixels) -> Image.Image:
    """A grid for people, in colour: enlarged where it is small."""
    image = to_image(pixels).convert("RGB")
    factor = math.ceil(LEAST_SIDE / max(image.size))
    return (
        image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST) if factor > 1 else image
    )


# --- one large picture -------------------------------------------------------------------


def whole_picture(heading: str, seen: Pixels, chances: Sequence[Chance], grids: Sequence[Panel]) -> Image.Image:
    """The input with its likeliest classes, then every grid in order, in rows like the lines of a text."""
    first = Panel("input", _with_chances(enlarged(seen), chances))
    places, size = _flow([first, *grids])
    canvas = Image.new("RGB", (size[0], size[1] + 2 * TITLE), GROUND)
    draw = ImageDraw.Draw(canvas)
    draw.text((MARGIN, MARGIN), heading, INK, _font(20))
    for panel, (x, y) in zip([first, *grids], places, strict=True):
        draw.text((x, y + 2 * TITLE), _cut(panel.title, max(panel.image.width, 120), 15), QUIET, _font(15))
        canvas.paste(panel.image, (x, y + 3 * TITLE))
    return canvas


def _flow(panels: Sequence[Panel]) -> tuple[list[Size], Size]:
    """Where each panel begins, and the size of all."""
    widest = max(MOST_WIDTH, *(panel.image.width + 2 * MARGIN for panel in panels))
    places: list[Size] = []
    x, y, tallest, right = MARGIN, MARGIN, 0, 0
    for panel in panels:
        width = max(panel.image.width, 120)
        if places and x + width + MARGIN > widest:
            x, y, tallest = MARGIN, y + tallest + MARGIN, 0
        places.append((x, y))
        x += width + MARGIN
        tallest, right = max(tallest, panel.image.height + TITLE), max(right, x)
    return places, (right, y + tallest + MARGIN)


def _with_chances(image: Image.Image, chances: Sequence[Chance]) -> Image.Image:
    width = max(image.width, 260)
    canvas = Image.new("RGB", (width, image.height + LINE * len(chances) + 8), GROUND)
    canvas.paste(image)
    draw_chances(canvas, (0, image.height + 8), width, chances)
    return canvas


def draw_chances(canvas: Image.Image, place: Size, width: int, chances: Sequence[Chance]) -> None:
    """Draw a line for each class at `place`: a bar as long as it is likely, its share, its name."""
    draw, (x, y) = ImageDraw.Draw(canvas), place
    for number, chance in enumerate(chances):
        top = y + number * LINE
        draw.rectangle((x, top + LINE - 5, x + max(1, round(chance.probability * width)) - 1, top + LINE - 4), BAR)
        words = f"{100 * chance.probability:3.0f} %  {chance.label}"
        draw.text((x, top), _cut(words, width, 14), INK, _font(14))


# --- frames of a recording ------------------------------------------------------------------


class Stage:
    """Where everything stands in the frames of one recording: the input, then each layer's grid, in equal squares."""

    def __init__(self, titles: Sequence[str]) -> None:
        self._titles = titles
        cells = 1 + len(titles)
        self._columns = min(cells, 4)
        self._side = {2: 480, 3: 400}.get(cells, 320)
        rows = math.ceil(cells / self._columns)
        self._footer = 3 * LINE + MARGIN
        width = MARGIN + self._columns * (self._side + MARGIN)
        height = MARGIN + rows * (TITLE + self._side + MARGIN) + self._footer
        self.size: Size = (width + width % 2, height + height % 2)  # codecs want even numbers

    def frame(self, seen: Pixels, grids: Sequence[Pixels], chances: Sequence[Chance], time: str) -> Image.Image:
        """One frame; `grids` are in the order of the titles."""
        canvas = Image.new("RGB", self.size, GROUND)
        draw = ImageDraw.Draw(canvas)
        for number, (title, pixels) in enumerate(zip(["input", *self._titles], [seen, *grids], strict=True)):
            row, column = divmod(number, self._columns)
            x = MARGIN + column * (self._side + MARGIN)
            y = MARGIN + row * (TITLE + self._side + MARGIN)
            draw.text((x, y), _cut(title, self._side, 15), QUIET, _font(15))
            canvas.paste(_fitted(pixels, self._side), (x, y + TITLE))
        foot = self.size[1] - self._footer
        draw_chances(canvas, (MARGIN, foot), min(420, self.size[0] - 140), chances[:3])
        draw.text((self.size[0] - MARGIN, foot), time, QUIET, _font(14), anchor="ra")
        return canvas


def _fitted(pixels: Pixels, side: int) -> Image.Image:
    """As large as fits into a square: shrunk smoothly, enlarged with hard edges."""
    image = to_image(pixels).convert("RGB")
    factor = side / max(image.size)
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return image.resize(size, Image.Resampling.NEAREST if factor >= 1 else Image.Resampling.BOX)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _cut(words: str, width: int, size: int) -> str:
    """As much of the words as fits."""
    font = _font(size)
    if font.getlength(words) <= width:
        return words
    while words and font.getlength(f"{words} …") > width:
        words = words[:-1]
    return f"{words} …"


def to_array(image: Image.Image) -> Pixels:
    """(H, W, 3) pixels of a colour image."""
    return np.asarray(image.convert("RGB"))
