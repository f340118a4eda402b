"""Which number format a network computes in on a device, and whether it works there."""

import copy
from typing import Literal

import torch
from torch import nn

from deepvis.folding import fold_normalisations
from deepvis.networks import Network
from deepvis.passes import random_pictures

Precision = Literal["float32", "bfloat16"]


def choose_precision(device: torch.device, wanted: Literal["auto", "float32", "bfloat16"]) -> Precision:
    """bfloat16 where the hardware multiplies it natively (three times as fast on AVX-512 machines), else float32."""
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bfloat16" if native else "float32"


def prepare(network: Network, device: torch.device, precision: Precision) -> tuple[nn.Module, Precision]:
    """A copy of the network made fast, in the wanted precision, or in float32 where it cannot run in that.

    Channels last, batch normalisations folded. Some networks insist on float32 somewhere in their forward pass;
    one small pass tells.
    """
    module = copy.deepcopy(network.module)
    fold_normalisations(module, random_pictures(network, ["white"], torch.Generator().manual_seed(0)))
    module = module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    if precision == "float32":
        return module, precision
    lowered = copy.deepcopy(module).to(torch.bfloat16)
    probe = torch.zeros(1, *network.input_shape, device=device, dtype=torch.bfloat16)
    try:
        with torch.no_grad():
            lowered(probe)
    except (RuntimeError, TypeError, ValueError):
        return module, "float32"
    return lowered, precision
