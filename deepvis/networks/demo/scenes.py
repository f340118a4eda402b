"""Labelled pictures of things on textured grounds, made from a seed."""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deepvis.networks.demo.pen import Pen, arc, rotation
from deepvis.networks.demo.things import THINGS, Drawing, Rng

SIDE = 64
"""Height and width of a picture in pixels."""
OVERSAMPLING = 3
"""Things are drawn this many times larger, then averaged down."""

Field = NDArray[np.float64]
Pictures = NDArray[np.uint8]
_DRAWINGS = tuple(THINGS.values())


@dataclass(frozen=True)
class Placement:
    """Where a thing may be put."""

    sizes: tuple[float, float]
    """Range of its half side, as a share of half the picture's side."""
    reach: float
    """How far its middle may be off centre, as a share of half the picture's side."""
    turn: float
    """How far it may be turned either way, in degrees."""
    jumble: bool = False
    """Whether it is taken to pieces; see `Pen`."""


_SUBJECT = Placement(sizes=(0.66, 0.95), reach=0.14, turn=14)
_CLUTTER = Placement(sizes=(0.12, 0.4), reach=0.9, turn=180)


def make_scenes(count: int, seed: int) -> tuple[Pictures, NDArray[np.int64]]:
    """`count` pictures (N, 64, 64, 3), 0..255, and the index (N,) of the thing on each; classes take turns.

    Picture i depends on `seed` and i alone.
    """
    labels = np.arange(count) % len(_DRAWINGS)
    rngs = (np.random.default_rng([seed, index]) for index in range(count))
    scenes = [make_scene(int(label), rng) for label, rng in zip(labels, rngs, strict=True)]
    return np.stack(scenes), labels


def make_jumbles(count: int, seed: int) -> Pictures:
    """`count` pictures (N, 64, 64, 3), 0..255, of things taken to pieces: right parts and colours, wrong form."""
    rngs = (np.random.default_rng([seed, index, 1]) for index in range(count))
    return np.stack([make_scene(i % len(_DRAWINGS), rng, jumble=True) for i, rng in enumerate(rngs)])


def make_scene(label: int, rng: Rng, *, jumble: bool = False) -> Pictures:
    """One picture (64, 64, 3), 0..255, of thing number `label`, or of that thing taken to pieces."""
    scene = _ground(rng)
    for _ in range(rng.integers(0, 5)):
        scene = _paint(scene, _distractor, _CLUTTER, rng)
    scene = _paint(scene, _DRAWINGS[label], replace(_SUBJECT, jumble=jumble), rng)
    scene = scene * _light(rng) + rng.normal(0, rng.uniform(0, 6), scene.shape)
    return np.clip(scene, 0, 255).astype(np.uint8)


def _paint(scene: Field, drawing: Drawing, placement: Placement, rng: Rng) -> Field:
    """The scene (64, 64, 3) with a grainy thing on it."""
    layer = Image.new("RGBA", (SIDE * OVERSAMPLING,) * 2)
    half = SIDE * OVERSAMPLING / 2
    stretch = half * rng.uniform(*placement.sizes) * np.diag(rng.uniform(0.92, 1.08, 2))
    centre = half * (1 + rng.uniform(-placement.reach, placement.reach, 2))
    matrix = np.column_stack([rotation(rng.uniform(-placement.turn, placement.turn)) @ stretch, centre])
    drawing(Pen(layer, matrix, rng, jumble=placement.jumble), rng)
    pixels = np.asarray(layer.reduce(OVERSAMPLING), dtype=np.float64)
    cover = pixels[..., 3:] / 255
    return scene * (1 - cover) + pixels[..., :3] * cover * (1 + 0.1 * _cloud(rng, 0.8)[..., None])


def _distractor(pen: Pen, rng: Rng) -> None:
    """A plain disc, bar, ring or polygon in any colour."""
    red, green, blue = rng.integers(0, 256, 3).tolist()
    kind = rng.integers(4)
    if kind == 0:
        pen.disc(0, 0, 1, (red, green, blue))
    elif kind == 1:
        pen.rectangle(-1, -0.25, 1, 0.25, (red, green, blue))
    elif kind == 2:
        pen.band(arc(0, rng.uniform(120, 360), (0.8, 0.8)), 0.3, (red, green, blue))
    else:
        pen.polygon(rng.uniform(-1, 1, (int(rng.integers(3, 6)), 2)), (red, green, blue))


def _ground(rng: Rng) -> Field:
    """(64, 64, 3): two random colours mixed by a random texture."""
    one, other = rng.uniform(20, 235, (2, 3))
    kinds = (_stripes, _checks, _dots, _waves)
    mix = _cloud(rng, rng.uniform(0.6, 1.6)) if rng.random() < 0.5 else kinds[rng.integers(4)](rng)
    mix = np.clip(0.5 + rng.uniform(0.15, 0.5) * mix, 0, 1)[..., None]
    ground: Field = one * mix + other * (1 - mix) + 12 * _cloud(rng, 0.5)[..., None]
    return ground


def _axes(rng: Rng) -> tuple[Field, Field]:
    """Two (64, 64) fields: coordinates in units of a random period, turned at random."""
    y, x = np.mgrid[:SIDE, :SIDE] + rng.uniform(0, SIDE, (2, 1, 1))
    period, angle = rng.uniform(5, 20), rng.uniform(0, np.pi)
    c, s = np.cos(angle) / period, np.sin(angle) / period
    return c * x - s * y, s * x + c * y


def _stripes(rng: Rng) -> Field:
    return np.sin(2 * np.pi * _axes(rng)[0])


def _checks(rng: Rng) -> Field:
    u, v = _axes(rng)
    checks: Field = np.tanh(4 * np.sin(np.pi * u) * np.sin(np.pi * v))
    return checks


def _dots(rng: Rng) -> Field:
    u, v = _axes(rng)
    return np.tanh(3 * (np.cos(2 * np.pi * u) + np.cos(2 * np.pi * v) - 0.8))


def _waves(rng: Rng) -> Field:
    u, v = _axes(rng)
    return np.sin(2 * np.pi * (u + 0.4 * np.sin(2 * np.pi * v / 2)))


def _cloud(rng: Rng, power: float) -> Field:
    """(64, 64): noise whose amplitude falls as 1/frequency**power, mean 0 and deviation 1."""
    spectrum = np.fft.rfft2(rng.normal(size=(SIDE, SIDE))) / _frequencies() ** power
    field: Field = np.fft.irfft2(spectrum, (SIDE, SIDE))
    return field / float(field.std())


@cache
def _frequencies() -> Field:
    """(64, 33): cycles per picture of each real-FFT coefficient; infinite for the mean, which noise has none of."""
    frequencies: Field = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)[None]) * SIDE
    frequencies[0, 0] = np.inf
    return frequencies


def _light(rng: Rng) -> Field:
    """(64, 64, 1): brightness that falls off in a random direction, and a tint."""
    slope = rng.uniform(-0.25, 0.25, 2)
    ramp = np.linspace(-1, 1, SIDE)
    light = rng.uniform(0.8, 1.15) + slope[0] * ramp[:, None] + slope[1] * ramp[None]
    tinted: Field = light[..., None] * rng.uniform(0.92, 1.08, 3)
    return tinted
