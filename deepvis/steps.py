"""Step rules: how far one step goes along the gradient, each image by itself (paper: learning rate policies)."""

import torch
from torch import Tensor

from core.specs import ConstantStep, NormalisedStep, Progress01Step, ProgressStep

StepRule = ConstantStep | ProgressStep | Progress01Step | NormalisedStep


def step_rate(rule: StepRule, g: Tensor, a: Tensor, progress: float) -> Tensor:
    """Rates eta (N, 1, 1, 1) such that the step is eta * g.

    Args:
        rule: which policy.
        g: gradients (N, C, H, W) with respect to pixel units.
        a: activations (N,) before the step.
        progress: part of the run that is over, 0 at the first step, below 1 at the last.
    """
    if isinstance(rule, ConstantStep):
        return torch.full_like(g[:, :1, :1, :1], rule.rate)
    squared = g.square().sum((1, 2, 3), keepdim=True)  # ||g||^2
    if isinstance(rule, NormalisedStep):
        fade = 1 - progress if rule.anneal else 1.0
        return _safe_divide(rule.rms * fade, (squared / g[0].numel()).sqrt())
    if isinstance(rule, ProgressStep):
        desired: Tensor | float = rule.desired
    else:
        desired = (rule.late_multiple * (1 - a)).clamp(max=rule.early).view(-1, 1, 1, 1)
    return _safe_divide(desired, squared).clamp(max=rule.max_rate)


def _safe_divide(numerator: Tensor | float, denominator: Tensor) -> Tensor:
    """The quotient, and 0 where the gradient is exactly zero: such a step goes nowhere."""
    zero = denominator == 0
    return (numerator / denominator.masked_fill(zero, 1)).masked_fill(zero, 0)
