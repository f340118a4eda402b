"""Where an ascent starts: seeded by the unit's address alone, so that a batch's make-up changes nothing."""

import hashlib
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

Start = Literal["noise", "uniform", "mean"]

NOISE_DEVIATION = 10.0
"""Deviation of the start noise in pixel units (paper's toolbox)."""


def generator(*address: str | int) -> torch.Generator:
    """A CPU random generator seeded by `address`; the same on every device and machine."""
    digest = hashlib.sha256("\0".join(map(str, address)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8]) >> 1)


def start_image(start: Start, shape: tuple[int, int, int], mean_pixel: Tensor, rng: torch.Generator) -> Tensor:
    """x0 of shape (C, H, W) in pixel units: Normal(0, 10), or uniform in [0, 255] - mean, or the mean itself.

    Args:
        start: which of the three.
        shape: (C, H, W).
        mean_pixel: mean pixel (C, 1, 1) on the 0..255 scale, on the CPU.
        rng: from `generator`.
    """
    if start == "noise":
        x = torch.randn(shape, generator=rng) * NOISE_DEVIATION
    elif start == "uniform":
        x = torch.rand(shape, generator=rng) * 255 - mean_pixel
    else:
        x = torch.zeros(shape)
    return x.to(mean_pixel.dtype)


RESTARTS = 4
"""Further starts tried where the gradient is exactly zero, before a unit is called dead."""


def lively_start(
    rows: int, draw: Callable[[int, int], Tensor], gradient: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """Start parameters (N, ...), redrawn where the gradient is exactly zero, and the mask (N,) of rows that stay dead.

    Args:
        rows: N.
        draw: (row, attempt) -> one row's start; attempt 0 is the recipe's own.
        gradient: gradient of the batch, same shape as the start.
    """
    x = torch.stack([draw(row, 0) for row in range(rows)])
    for attempt in range(1, RESTARTS + 2):
        dead = gradient(x).flatten(1).abs().amax(1) == 0  # NaN is not zero: such rows are broken, not dead
        if not dead.any() or attempt > RESTARTS:
            break
        for row in dead.nonzero().flatten().tolist():
            x[row] = draw(row, attempt)
    return x, dead
