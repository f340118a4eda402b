"""Regularised gradient ascent on pixels, many units in one batch (Yosinski et al. 2015, section 3)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from core.specs import PixelMethod
from deepvis import regularizers
from deepvis.objectives import Objective, Tracker
from deepvis.starts import generator, lively_start, start_image
from deepvis.steps import step_rate

Address = tuple[str | int, ...]


@dataclass(frozen=True)
class Scale:
    """Between pixel units and the network's normalised input: z = x / (255 std). Shapes (1, C, 1, 1)."""

    mean: Tensor  # on the 0..1 scale
    std: Tensor

    @property
    def mean_pixel(self) -> Tensor:
        return 255 * self.mean

    def normalise(self, x: Tensor) -> Tensor:
        """Mean-subtracted pixel units (0..255) to what the network takes."""
        return x / (255 * self.std)


@dataclass(frozen=True)
class Outcome:
    """Of one batch; all tensors have N rows."""

    picture: Tensor  # (N, C, H, W) in 0..255
    best_step: Tensor
    strongest_step: Tensor  # -1: never
    dead: Tensor
    broken: Tensor


def pixel_ascent(
    objective: Objective,
    method: PixelMethod,
    scale: Scale,
    shape: tuple[int, int, int],
    addresses: Sequence[Address],
    on_step: Callable[[int], None],
) -> Outcome:
    """x <- r(x + eta da/dx) for every image of the batch; keeps the best image seen of each.

    Args:
        objective: activations of the batch's units, one image each.
        method: regularisers, step rule, start.
        scale: of the network's input.
        shape: (C, H, W) of one image: the unit's window.
        addresses: one a row; what seeds its start.
        on_step: called with the number of each step before it is taken; what it raises ends the run.
    """
    x, dead = _start(objective, method, scale, shape, addresses)  # (N, C, H, W) pixel units
    low, high = -scale.mean_pixel, 255 - scale.mean_pixel
    seen = Tracker.of(x)
    steps = objective.recipe.steps
    for step in range(steps):
        on_step(step)
        if method.clamp:
            x = x.clamp(low, high)
        a, strongest, g = value_and_gradient(objective, scale, x)
        better = seen.see(step, a * objective.sign, strongest, g)
        seen.best = torch.where(better.view(-1, 1, 1, 1), x, seen.best)
        if step == steps - 1:  # no update after the last forward pass: the picture kept has been measured
            break
        g = g.masked_fill(seen.broken.view(-1, 1, 1, 1), 0)
        towards = a if objective.sign > 0 else 1 - a
        x = x + step_rate(method.step, g, towards, step / steps) * g
        x = regularise(x, g, method, step)
    picture = (seen.best + scale.mean_pixel).clamp(0, 255)
    return Outcome(picture, seen.best_step, seen.strongest_step, dead & ~seen.broken, seen.broken)


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


def value_and_gradient(objective: Objective, scale: Scale, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Activations (N,), whether each is its layer's strongest (N,), and g = sign da/dx (N, C, H, W), at `x`."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        a, strongest = objective(scale.normalise(x))
        (g,) = torch.autograd.grad(a.sum() * objective.sign, x)
    return a.detach(), strongest, g


def _start(
    objective: Objective,
    method: PixelMethod,
    scale: Scale,
    shape: tuple[int, int, int],
    addresses: Sequence[Address],
) -> tuple[Tensor, Tensor]:
    """Start images (N, C, H, W), uniform and noise in turn where the recipe's own start has no gradient; dead rows."""
    mean_pixel = scale.mean_pixel[0].cpu()
    rngs = [generator(*address) for address in addresses]

    def draw(row: int, attempt: int) -> Tensor:
        start = method.start if attempt == 0 else ("noise", "uniform")[attempt % 2]
        return start_image(start, shape, mean_pixel, rngs[row]).to(objective.units.device)

    return lively_start(len(rngs), draw, lambda x: value_and_gradient(objective, scale, x)[2])
