"""The twelve things the demo network knows: each a small drawing with its own form and colours.

Several share a colour on purpose (red: ladybird, mushroom, target; yellow: smiley), so that a network
cannot tell them apart by colour alone and its preferred pictures have to show the form.
"""

from collections.abc import Callable

import numpy as np

from deepvis.networks.demo.pen import Colour, Pen, arc

Rng = np.random.Generator
Drawing = Callable[[Pen, Rng], None]

BLACK: Colour = (25, 22, 25)
WHITE: Colour = (245, 243, 238)
RED: Colour = (215, 30, 35)
ORANGE: Colour = (245, 125, 25)
YELLOW: Colour = (250, 210, 40)
GREEN: Colour = (35, 135, 55)
BLUE: Colour = (40, 95, 215)
SKY: Colour = (120, 190, 240)
VIOLET: Colour = (140, 50, 190)
PINK: Colour = (240, 95, 165)
BROWN: Colour = (120, 72, 38)
CREAM: Colour = (240, 222, 180)
SKIN: Colour = (228, 172, 138)


def butterfly(pen: Pen, rng: Rng) -> None:
    """Blue wings with black edges and yellow spots around a dark body."""
    spread = rng.uniform(0.9, 1.1)
    for side in (-1, 1):
        for x, y, rx, ry, turn in ((0.5, -0.36, 0.52, 0.4, 35), (0.4, 0.42, 0.42, 0.32, -40)):
            pen.ellipse((side * x * spread, y), (rx, ry), BLACK, turn=-side * turn)
            pen.ellipse((side * x * spread, y), (rx * 0.8, ry * 0.76), BLUE, turn=-side * turn)
            pen.disc(side * x * spread * 1.3, y * 1.15, 0.1, YELLOW)
        pen.band([(0, -0.5), (side * 0.12, -0.75), (side * 0.28, -0.95)], 0.06, BLACK)
    pen.ellipse((0, 0.05), (0.1, 0.62), BLACK)


def eye(pen: Pen, rng: Rng) -> None:
    """A white almond with a coloured iris, a black pupil and a brow, on skin."""
    iris = ((50, 120, 190), (60, 140, 80), (120, 75, 40))[rng.integers(3)]
    look = rng.uniform(-0.12, 0.12)
    pen.ellipse((0, 0), (1.0, 0.85), SKIN)
    pen.band(arc(205, 335, (0.9, 0.62), (0, 0.02)), 0.13, BROWN)
    almond = np.concatenate([arc(205, 335, (0.92, 0.72), (0, 0.3)), arc(25, 155, (0.92, 0.72), (0, -0.22))])
    pen.polygon(almond * (1.06, 1.14), BLACK)
    pen.polygon(almond, WHITE)
    pen.disc(look, 0.04, 0.36, iris)
    pen.disc(look, 0.04, 0.17, BLACK)
    pen.disc(look - 0.11, -0.08, 0.08, WHITE)


def fish(pen: Pen, rng: Rng) -> None:
    """Orange with white bands, looking left, its tail to the right."""
    tail = rng.uniform(0.4, 0.55)
    pen.polygon([(0.45, 0), (0.98, -tail), (0.86, 0), (0.98, tail)], ORANGE)
    pen.polygon([(-0.3, -0.4), (0.1, -0.75), (0.45, -0.3)], ORANGE)
    pen.polygon([(-0.15, 0.4), (0.1, 0.72), (0.4, 0.28)], ORANGE)
    pen.ellipse((-0.15, 0), (0.78, 0.5), ORANGE)
    for x, half in ((-0.38, 0.46), (0.08, 0.46), (0.45, 0.28)):
        pen.band([(x + 0.05, -half), (x - 0.05, 0), (x + 0.05, half)], 0.24, BLACK)
        pen.band([(x + 0.05, -half), (x - 0.05, 0), (x + 0.05, half)], 0.15, WHITE)
    pen.disc(-0.64, -0.12, 0.13, WHITE)
    pen.disc(-0.66, -0.12, 0.07, BLACK)


def flower(pen: Pen, rng: Rng) -> None:
    """Pink petals around a yellow heart, on a green stem."""
    petals, start = int(rng.integers(7, 10)), rng.uniform(0, 60)
    pen.band([(0, 0), (0.05, 0.5), (0, 1.0)], 0.1, GREEN)
    pen.ellipse((0.28, 0.78), (0.28, 0.11), GREEN, turn=-30)
    for angle in start + np.arange(petals) * 360 / petals:
        x, y = 0.45 * np.cos(np.radians(angle)), 0.45 * np.sin(np.radians(angle))
        pen.ellipse((x, y - 0.25), (0.3, 0.15), PINK, turn=float(angle))
    pen.disc(0, -0.25, 0.24, YELLOW)


def house(pen: Pen, rng: Rng) -> None:
    """Cream walls under a red roof, with a door, windows and a chimney."""
    door = rng.uniform(-0.15, 0.15)
    pen.rectangle(0.35, -0.9, 0.58, -0.3, BROWN)
    pen.rectangle(-0.72, -0.15, 0.72, 0.9, CREAM)
    pen.polygon([(-0.98, -0.1), (0, -0.95), (0.98, -0.1)], RED)
    pen.rectangle(door - 0.15, 0.35, door + 0.15, 0.9, BROWN)
    for x in (-0.45, 0.45):
        pen.rectangle(x - 0.19, 0.03, x + 0.19, 0.4, WHITE)
        pen.rectangle(x - 0.14, 0.08, x + 0.14, 0.35, BLUE)


def ladybird(pen: Pen, rng: Rng) -> None:
    """A red dome with black spots, a black head and six legs, seen from above."""
    spot = rng.uniform(0.13, 0.17)
    for side in (-1, 1):
        for y in (-0.3, 0.1, 0.5):
            pen.band([(0, y), (side * 0.6, y - 0.03), (side * 0.98, y + 0.12)], 0.09, BLACK)
    pen.disc(0, -0.62, 0.36, BLACK)
    pen.ellipse((0, 0.12), (0.75, 0.8), RED)
    pen.rectangle(-0.03, -0.65, 0.03, 0.92, BLACK)
    for side in (-1, 1):
        pen.disc(side * 0.18, -0.78, 0.09, WHITE)
        for x, y in ((0.32, -0.28), (0.45, 0.15), (0.26, 0.55)):
            pen.disc(side * x, y, spot, BLACK)


def mushroom(pen: Pen, rng: Rng) -> None:
    """A red cap with white dots on a pale stem."""
    width = rng.uniform(0.2, 0.28)
    pen.polygon([(-width, 0), (width, 0), (width * 1.4, 0.95), (-width * 1.4, 0.95)], CREAM)
    pen.polygon([(-width * 1.5, 0.22), (width * 1.5, 0.22), (width * 1.9, 0.4), (-width * 1.9, 0.4)], WHITE)
    pen.polygon(np.concatenate([arc(180, 360, (0.95, 0.95), (0, 0.1)), arc(0, 180, (0.95, 0.14), (0, 0.1))]), RED)
    for x, y, radius in (
        (-0.55, -0.15, 0.15),
        (0, -0.35, 0.18),
        (0.55, -0.12, 0.15),
        (-0.3, -0.6, 0.11),
        (0.33, -0.62, 0.11),
        (-0.2, 0.04, 0.09),
        (0.25, 0.05, 0.09),
    ):
        pen.disc(x, y, radius, WHITE)


def rainbow(pen: Pen, rng: Rng) -> None:
    """Six coloured arches with a cloud at each foot."""
    height = rng.uniform(1.15, 1.35)
    for step, colour in enumerate((RED, ORANGE, YELLOW, GREEN, BLUE, VIOLET)):
        radius = 0.93 - 0.12 * step
        pen.band(arc(180, 360, (radius, radius * height), (0, 0.6)), 0.135, colour)
    for side in (-1, 1):
        for x, y, radius in ((0.62, 0.55, 0.2), (0.42, 0.66, 0.17), (0.82, 0.68, 0.17)):
            pen.disc(side * x, y, radius, WHITE)


def smiley(pen: Pen, rng: Rng) -> None:
    """A yellow disc with two eyes and a wide smile."""
    smile = rng.uniform(0.45, 0.6)
    pen.disc(0, 0, 0.95, BROWN)
    pen.disc(0, 0, 0.87, YELLOW)
    for side in (-1, 1):
        pen.ellipse((side * 0.32, -0.28), (0.12, 0.2), BLACK)
    pen.band(arc(15, 165, (0.58, smile), (0, 0.08)), 0.15, BLACK)


def target(pen: Pen, rng: Rng) -> None:
    """Red and white rings."""
    ring = rng.uniform(0.18, 0.2)
    for step in range(5):
        pen.disc(0, 0, 0.95 - ring * step, WHITE if step % 2 else RED)


def traffic_light(pen: Pen, rng: Rng) -> None:
    """A black box on a pole with a red, a yellow and a green lamp."""
    lamp = rng.uniform(0.2, 0.235)
    pen.rectangle(-0.09, 0.7, 0.09, 1.0, (90, 90, 95))
    pen.rectangle(-0.42, -1.0, 0.42, 0.8, BLACK)
    for y, colour in ((-0.66, (250, 40, 40)), (-0.1, (255, 205, 45)), (0.46, (50, 225, 90))):
        pen.disc(0, y, lamp, colour)


def tree(pen: Pen, rng: Rng) -> None:
    """A fir in three tiers with coloured baubles and a star."""
    pen.rectangle(-0.13, 0.6, 0.13, 1.0, BROWN)
    for top, bottom, half in ((0.0, 0.75, 0.82), (-0.4, 0.3, 0.64), (-0.8, -0.12, 0.46)):
        pen.polygon([(-half, bottom), (0, top), (half, bottom)], GREEN)
    colours = (RED, YELLOW, BLUE, PINK)
    first = int(rng.integers(4))
    spots = ((0.1, -0.42), (-0.16, -0.24), (-0.25, 0.1), (0.24, 0.08), (-0.45, 0.58), (0.02, 0.45), (0.45, 0.6))
    for index, (x, y) in enumerate(spots):
        pen.disc(x, y, 0.095, colours[(first + index) % 4])
    pen.disc(0, -0.83, 0.13, YELLOW)


THINGS: dict[str, Drawing] = {
    "butterfly": butterfly,
    "eye": eye,
    "fish": fish,
    "flower": flower,
    "house": house,
    "ladybird": ladybird,
    "mushroom": mushroom,
    "rainbow": rainbow,
    "smiley": smiley,
    "target": target,
    "traffic light": traffic_light,
    "christmas tree": tree,
}
"""Label -> drawing, in the order of the network's class units."""
