"""A pen that draws flat shapes in a thing's own coordinates: x right, y down, the thing within -1..1."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Points = NDArray[np.float64]
Point = tuple[float, float]
Colour = tuple[int, int, int]

COLOUR_DEVIATION = 14
"""How much each colour varies, 0..255 scale."""
JUMBLE_DEVIATION = 0.45
"""How far a jumble's shapes are displaced, in the thing's coordinates."""


class Pen:
    """Draws on `image` (RGBA) through an affine map, every colour varied a little.

    Args:
        image: what is drawn on.
        matrix: (2, 3), from the thing's coordinates to pixels of `image`.
        rng: decides how colours vary.
        jumble: draw each shape once or twice, each time displaced at random: right parts, wrong form.
    """

    def __init__(self, image: Image.Image, matrix: Points, rng: np.random.Generator, *, jumble: bool = False) -> None:
        self._draw = ImageDraw.Draw(image)
        self._matrix = matrix
        self._rng = rng
        self._jumble = jumble

    def polygon(self, points: Sequence[Point] | Points, colour: Colour) -> None:
        """Fills the polygon with corners `points`, (K, 2)."""
        corners = np.asarray(points, dtype=float)
        if not self._jumble:
            self._fill(corners, colour)
            return
        for _ in range(self._rng.integers(1, 3)):
            self._fill(corners + self._rng.normal(0, JUMBLE_DEVIATION, 2), colour)

    def ellipse(self, centre: Point, radii: Point, colour: Colour, *, turn: float = 0.0) -> None:
        """Fills the ellipse with half axes `radii`, turned clockwise by `turn` degrees."""
        self.polygon(arc(0, 360, radii) @ rotation(turn).T + centre, colour)

    def disc(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """Fills the disc around (x, y)."""
        self.ellipse((x, y), (radius, radius), colour)

    def rectangle(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        """Fills an upright rectangle."""
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], colour)

    def band(self, points: Sequence[Point] | Points, width: float, colour: Colour) -> None:
        """Draws the line through `points` (K, 2) with the given width."""
        path = np.asarray(points, dtype=float)
        along = np.gradient(path, axis=0)
        across = along[:, ::-1] * (-1, 1) / np.linalg.norm(along, axis=1, keepdims=True) * width / 2
        self.polygon(np.concatenate([path + across, (path - across)[::-1]]), colour)

    def _fill(self, corners: Points, colour: Colour) -> None:
        pixels = corners @ self._matrix[:, :2].T + self._matrix[:, 2]
        self._draw.polygon([(float(x), float(y)) for x, y in pixels], fill=self._vary(colour))

    def _vary(self, colour: Colour) -> tuple[int, int, int, int]:
        red, green, blue = np.clip(self._rng.normal(colour, COLOUR_DEVIATION), 0, 255).astype(int).tolist()
        return red, green, blue, 255


def rotation(degrees: float) -> Points:
    """(2, 2): turns clockwise on the screen (y down)."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s], [s, c]])


def arc(start: float, stop: float, radii: Point, centre: Point = (0.0, 0.0)) -> Points:
    """(K, 2): points of an ellipse's arc from `start` to `stop` degrees; 0 is right, 90 down."""
    angles = np.radians(np.linspace(start, stop, max(3, int(abs(stop - start) / 10) + 1)))
    return np.asarray(centre) + np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii
