"""The paper's regularisers as small batched functions (Yosinski et al. 2015, section 3).

Every `x` is a batch of images (N, C, H, W) in pixel units (0..255 with the mean subtracted);
every `g` is the gradient of the activations with respect to `x`, taken before the step. Each image of the
batch is treated by itself: percentiles are per image, comparisons strict, as in the paper's toolbox.
"""

import math
from functools import lru_cache

import torch
from torch import Tensor


def decay(x: Tensor, rate: float) -> Tensor:
    """L2 decay: r(x) = (1 - rate) x."""
    return x * (1 - rate)


def blur(x: Tensor, width: float) -> Tensor:
    """Convolve each channel with a Gaussian of deviation `width` pixels, edges reflected (d c b a | a b c d)."""
    rows = _blur_matrix(x.shape[-2], width, x.device, x.dtype)  # (H, H)
    columns = _blur_matrix(x.shape[-1], width, x.device, x.dtype)  # (W, W)
    return rows @ (x @ columns.T)


def clip_small_norm(x: Tensor, percentile: float) -> Tensor:
    """Set to 0 the pixels whose norm over the channels is below the percentile of their image.

    The squared norm serves as well: a monotone function changes no order.
    """
    return x.masked_fill(below_percentile(x.square().sum(1, keepdim=True), percentile), 0)


def clip_small_contribution(x: Tensor, g: Tensor, percentile: float) -> Tensor:
    """Set to 0 the pixels whose linearised contribution |sum over channels of x g| is below the percentile."""
    return x.masked_fill(below_percentile((x * g).sum(1, keepdim=True).abs(), percentile), 0)


def clip_small_value(x: Tensor, percentile: float) -> Tensor:
    """Set to 0 the entries (pixel and channel) whose absolute value is below the percentile (toolbox only)."""
    return x.masked_fill(below_percentile(x.abs(), percentile), 0)


def clip_small_benefit(x: Tensor, g: Tensor, percentile: float) -> Tensor:
    """Set to 0 the pixels whose sum over channels of x g is below the percentile (toolbox: signed benefit)."""
    return x.masked_fill(below_percentile((x * g).sum(1, keepdim=True), percentile), 0)


def below_percentile(values: Tensor, percentile: float) -> Tensor:
    """Mask of the entries of (N, ...) strictly below their row's linearly interpolated percentile.

    No threshold is computed. It lies between two neighbouring order statistics; where these differ and it is not the
    lower one itself, exactly the entries up to the lower one are below it, else exactly those under the lower one.
    That needs one selection instead of a sort.
    """
    flat = values.flatten(1)  # (N, P)
    rank = round(percentile / 100 * (flat.shape[1] - 1), 9)  # 7 % of 100 gaps is 7, not 7.000000000000001
    k = math.floor(rank)
    kth = flat.kthvalue(k + 1, dim=1, keepdim=True).values  # (N, 1)
    at_most = flat <= kth
    # Between two different order statistics the threshold lies strictly above the k-th value, else on it.
    between = (at_most.sum(1, keepdim=True) == k + 1) & (rank > k)
    return torch.where(between, at_most, flat < kth).view_as(values)


@lru_cache(maxsize=64)
def _blur_matrix(size: int, width: float, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Matrix (size, size) of the one-dimensional Gaussian, cut at 4 standard deviations, with reflected edges."""
    radius = int(4 * width + 0.5)
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
    kernel = torch.exp(-0.5 * (offsets / width) ** 2)
    kernel /= kernel.sum()
    source = torch.arange(size)[:, None] + torch.arange(-radius, radius + 1)  # (size, 2 radius + 1)
    source = source.remainder(2 * size)
    source = torch.where(source < size, source, 2 * size - 1 - source)
    matrix = torch.zeros(size, size, dtype=torch.float64)
    matrix.scatter_add_(1, source, kernel.expand(size, -1).contiguous())
    return matrix.to(device=device, dtype=dtype)
