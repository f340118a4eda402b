"""The demo network's own kind of pictures as files, for probe sets: things that it has not seen in training."""

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image

from deepvis.networks.demo import LABELS
from deepvis.networks.demo.scenes import make_scene

SEED = 2015
"""Not one that training or its test draws from."""


def picture_files(count: int, seed: int = SEED) -> Iterator[tuple[str, str, bytes]]:
    """Name, label and PNG of `count` pictures of 64 x 64 pixels, one at a time; classes take turns.

    Picture i depends on `seed` and i alone.
    """
    for index in range(count):
        label = index % len(LABELS)
        scene = make_scene(label, np.random.default_rng([seed, index]))
        yield f"{LABELS[label]}/{index:06}.png", LABELS[label], _png(Image.fromarray(scene))


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()
