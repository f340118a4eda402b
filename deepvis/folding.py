"""Batch normalisation folded into the convolutions it directly follows: the same function, less memory traffic."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

from deepvis.tracing import trace


def fold_normalisations(module: nn.Module, probe: Tensor) -> bool:
    """Fold in place; the normalisations become identities, so that units are still read where they were.

    The result is held against the module's own output on `probe`: where they differ (a convolution whose raw output
    is used elsewhere as well, or that runs twice with different normalisations), everything is put back.

    Args:
        module: float32, in evaluation mode, the caller's own copy.
        probe: (1, C, H, W) normalised input.

    Returns:
        Whether anything was folded.
    """
    pairs = _pairs(module, probe)
    if not pairs:
        return False
    with torch.no_grad():
        before = module(probe)
        for pair in pairs:
            module.set_submodule(pair.conv_name, fuse_conv_bn_eval(pair.conv, pair.norm))
            module.set_submodule(pair.norm_name, nn.Identity())
        after = module(probe)
    if _same(before, after):
        return True
    for pair in pairs:
        module.set_submodule(pair.conv_name, pair.conv)
        module.set_submodule(pair.norm_name, pair.norm)
    return False


class _Pair(NamedTuple):
    conv_name: str
    conv: nn.Conv2d
    norm_name: str
    norm: _BatchNorm


def _pairs(module: nn.Module, probe: Tensor) -> list[_Pair]:
    """Convolutions and the normalisations that consume their output."""
    pairs = []
    for layer in trace(module, probe):
        conv, norm = module.get_submodule(layer.name), module.get_submodule(layer.read_at)
        if type(conv) is nn.Conv2d and isinstance(norm, _BatchNorm) and norm.running_mean is not None:
            pairs.append(_Pair(layer.name, conv, layer.read_at, norm))
    return pairs


def _same(before: object, after: object) -> bool:
    """Whether two outputs agree to float32 rounding; what is no tensor cannot be told, so no."""
    if not (isinstance(before, Tensor) and isinstance(after, Tensor)):
        return False
    scale = before.abs().max().clamp(min=1e-6)
    return bool((before - after).abs().max() <= 1e-3 * scale)
