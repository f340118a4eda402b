"""A plain transcription of the paper's method in NumPy and SciPy, one image at a time.

Written from the paper's formulas alone. Images are (C, H, W) float64 in pixel units, mean subtracted.
"""

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from core.specs import ConstantStep, NormalisedStep, PixelMethod, ProgressStep

Array = np.ndarray


def regularise(x: Array, g: Array, m: PixelMethod, step: int) -> Array:
    x = x * (1 - m.decay)
    if m.blur_width and step % m.blur_every == 0:
        x = np.stack([ndimage.gaussian_filter(channel, m.blur_width) for channel in x])
    if m.norm_percentile:
        norm = np.sqrt((x**2).sum(0))
        x = np.where(norm < np.percentile(norm, m.norm_percentile), 0, x)
    if m.contribution_percentile:
        contribution = np.abs((x * g).sum(0))
        x = np.where(contribution < np.percentile(contribution, m.contribution_percentile), 0, x)
    if m.value_percentile:
        x = np.where(np.abs(x) < np.percentile(np.abs(x), m.value_percentile), 0, x)
    if m.benefit_percentile:
        benefit = (x * g).sum(0)
        x = np.where(benefit < np.percentile(benefit, m.benefit_percentile), 0, x)
    return x


def rate(m: PixelMethod, g: Array, a: float, step: int, steps: int) -> float:
    rule = m.step
    squared = float((g**2).sum())
    if squared == 0:
        return 0.0
    if isinstance(rule, ConstantStep):
        return rule.rate
    if isinstance(rule, NormalisedStep):
        return rule.rms * ((1 - step / steps) if rule.anneal else 1) / np.sqrt((g**2).mean())
    desired = rule.desired if isinstance(rule, ProgressStep) else min(rule.early, rule.late_multiple * (1 - a))
    return min(rule.max_rate, desired / squared)


def ascend(
    x: Array,
    mean: Array,
    m: PixelMethod,
    steps: int,
    activation: Callable[[Array], tuple[float, Array]],
) -> tuple[Array, float, int]:
    """The best image seen, its activation and its step; `activation` gives a(x) and da/dx."""
    best, best_a, best_step = x, -np.inf, -1
    for step in range(steps):
        if m.clamp:
            x = np.clip(x + mean, 0, 255) - mean
        a, g = activation(x)
        if a > best_a:
            best, best_a, best_step = x, a, step
        if step == steps - 1:
            break
        x = x + rate(m, g, a, step, steps) * g
        x = regularise(x, g, m, step)
    return best, best_a, best_step


def exact_contribution(x: Array, activation: Callable[[Array], float]) -> Array:
    """|a(x) - a(x without pixel p)| for every pixel, (H, W)."""
    whole = activation(x)
    result = np.zeros(x.shape[1:])
    for i in range(x.shape[1]):
        for j in range(x.shape[2]):
            without = x.copy()
            without[:, i, j] = 0
            result[i, j] = abs(whole - activation(without))
    return result
