"""Regularised gradient ascent on pixels, many units in one batch (Yosinski et al. 2015, section 3)."""

from functools import partial

import torch
from torch import Tensor

from core.specs import PixelMethod
from deepvis import regularizers
from deepvis.batch import Batch, Outcome, Tracker
from deepvis.starts import generator, lively_start, start_image
from deepvis.steps import step_rate


def pixel_ascent(batch: Batch, method: PixelMethod) -> Outcome:
    """x <- r(x + eta da/dx) for every image of the batch; keeps the best image seen of each.

    Args:
        batch: units, one image each, in pixel units while they are worked on.
        method: start, step rule, regularisers.
    """
    x, dead = _start(batch, method)  # (N, C, H, W)
    best = x
    low, high = -batch.scale.mean_pixel, 255 - batch.scale.mean_pixel
    seen = Tracker.start(len(x), batch.device)
    sign, steps = batch.objective.sign, batch.objective.recipe.steps
    for step in range(steps):
        batch.on_step(step)
        if batch.on_picture:
            batch.on_picture(step, partial(_picture, batch, x))
        if method.clamp:
            x = x.clamp(low, high)
        a, strongest, g = value_and_gradient(batch, x)  # (N,), (N,), (N, C, H, W)
        better = seen.see(step, a * sign, strongest, g)
        best = torch.where(better.view(-1, 1, 1, 1), x, best)
        if step == steps - 1:  # no update after the last forward pass: the picture kept has been measured
            break
        g = g.masked_fill_(seen.broken.view(-1, 1, 1, 1), 0)
        x = x + step_rate(method.step, g, a if sign > 0 else 1 - a, step / steps) * g
        x = regularise(x, g, method, step)
    return seen.outcome(_picture(batch, best), seen.best_step, dead)


def _picture(batch: Batch, x: Tensor) -> Tensor:
    """Pixel units as pictures in 0..255."""
    return (x + batch.scale.mean_pixel).clamp(0, 255)


def regularise(x: Tensor, g: Tensor, method: PixelMethod, step: int) -> Tensor:
    """r(x) in the toolbox's order: decay, blur, small norm, small contribution, then its two further clippings."""
    if method.decay:
        x = regularizers.decay(x, method.decay)
    if method.blur_width and step % method.blur_every == 0:
        x = regularizers.blur(x, method.blur_width)
    if method.norm_percentile:
        x = regularizers.clip_small_norm(x, method.norm_percentile)
    if method.contribution_percentile:
        x = regularizers.clip_small_contribution(x, g, method.contribution_percentile)
    if method.value_percentile:
        x = regularizers.clip_small_value(x, method.value_percentile)
    if method.benefit_percentile:
        x = regularizers.clip_small_benefit(x, g, method.benefit_percentile)
    return x


def value_and_gradient(batch: Batch, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Activations (N,), whether each is its layer's strongest (N,), and g = sign da/dx (N, C, H, W), at `x`."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        a, strongest = batch.objective(batch.scale.from_pixel_units(x))
        (g,) = torch.autograd.grad(a.sum() * batch.objective.sign, x)
    return a.detach(), strongest, g


def _start(batch: Batch, method: PixelMethod) -> tuple[Tensor, Tensor]:
    """Start images (N, C, H, W), uniform and noise in turn where the recipe's own start has no gradient; dead rows."""
    mean_pixel = batch.scale.mean_pixel[0].cpu()
    rngs = [generator(*address) for address in batch.addresses]

    def draw(row: int, attempt: int) -> Tensor:
        start = method.start if attempt == 0 else ("noise", "uniform")[attempt % 2]
        return start_image(start, batch.shape, mean_pixel, rngs[row]).to(batch.device)

    return lively_start(len(rngs), draw, lambda x: value_and_gradient(batch, x)[2])
