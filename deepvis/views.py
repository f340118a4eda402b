"""Backward views as pictures: the filters of the original toolbox, and how a view is stored."""

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from deepvis.pictures import Pixels
from deepvis.regularizers import blur

Filter = Literal["raw", "gray", "norm", "blurred norm"]
FILTERS: tuple[Filter, ...] = ("raw", "gray", "norm", "blurred norm")

_BLUR_WIDTH = 4.0  # pixels
_SATURATED = 99.5  # percentile


def render_view(view: NDArray[np.float32], how: Filter = "raw") -> Pixels:
    """A backward view, or a crop of one, as a picture.

    raw           its colours; nothing is mid-grey, and the strongest signals of either sign reach black and white
    gray          the mean over its channels, shown in the same way
    norm          each pixel's norm over its channels, from black for the least to white for the most
    blurred norm  the same after a Gaussian blur of 4 pixels: where, rather than what

    Args:
        view: (C, H, W), of `deepvis.backward`.
        how: the filter.

    Returns:
        (H, W, C) for raw, (H, W, 1) otherwise.
    """
    if how == "raw":
        return _signed(view)
    if how == "gray":
        return _signed(view.mean(0, keepdims=True))
    norm = np.linalg.norm(view, axis=0, keepdims=True)
    if how == "blurred norm":
        norm = blur(torch.from_numpy(norm)[None], _BLUR_WIDTH)[0].numpy()
    return _unsigned(norm)


def _signed(values: NDArray[np.float32]) -> Pixels:
    """Scaled so that the strongest half percent of what is not zero is cut: single pixels would leave the rest grey."""
    sizes = np.abs(values[values != 0])
    scale = np.percentile(sizes, _SATURATED) if len(sizes) else 1.0
    return _to_pixels(127.5 + 127.5 * np.clip(values / scale, -1, 1))


def _unsigned(values: NDArray[np.float32]) -> Pixels:
    least, most = values.min(), values.max()
    return _to_pixels(255 * (values - least) / (most - least) if most > least else 0 * values)


def _to_pixels(values: NDArray[np.floating]) -> Pixels:
    return np.ascontiguousarray(values.round().astype(np.uint8).transpose(1, 2, 0))
