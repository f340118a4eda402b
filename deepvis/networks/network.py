"""What a network is once loaded. No torch is imported here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.specs import NetworkSource

if TYPE_CHECKING:
    from torch import nn

Shape = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class Parts:
    """A module with its preprocessing and labels, as its source gives it.

    The module takes (N, C, H, W) float32, normalised: (pixel / 255 - mean) / std, channel by channel.
    """

    module: "nn.Module"
    input_shape: Shape  # (C, H, W)
    mean: Sequence[float]  # per channel, of pixels scaled to 0..1
    std: Sequence[float]  # per channel, of pixels scaled to 0..1
    labels: Sequence[str] = ()  # label i belongs to unit i of the last layer with as many units


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network ready to be looked at: evaluation mode, no weight needs a gradient, CPU, float32."""

    source: NetworkSource
    module: "nn.Module"
    input_shape: Shape  # (C, H, W)
    mean: tuple[float, ...]  # per channel, of pixels scaled to 0..1
    std: tuple[float, ...]  # per channel, of pixels scaled to 0..1
    labels: tuple[str, ...]  # label i belongs to unit i of the last layer with as many units
    weights_hash: str  # 64 hex digits, see `deepvis.networks.loading.hash_weights`
