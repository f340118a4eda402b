"""Small real networks for tests of the method."""

import torch
from torch import nn

from core.specs import NetworkInfo, NetworkSource
from deepvis.layers import describe
from deepvis.networks import Network


def small_network(module: nn.Module, channels: int = 3, side: int = 16, labels: tuple[str, ...] = ()) -> Network:
    """`module` as a network of (channels, side, side) inputs with a mean and deviation per channel."""
    return Network(
        source=NetworkSource(name="small", kind="factory", builder="tests:small"),
        module=module.eval().requires_grad_(False),
        input_shape=(channels, side, side),
        mean=tuple(0.4 + 0.02 * c for c in range(channels)),
        std=tuple(0.2 + 0.01 * c for c in range(channels)),
        labels=labels,
        weights_hash="0" * 64,
    )


def smooth_network(channels: int = 3, side: int = 16) -> tuple[Network, NetworkInfo]:
    """Two convolutions and a linear layer with smooth activation functions."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(channels, 6, 3, padding=1),
        nn.GELU(),
        nn.Conv2d(6, 8, 3, stride=2, padding=1),
        nn.GELU(),
        nn.Flatten(),
        nn.Linear(8 * (side // 2) ** 2, 5),
    )
    network = small_network(module, channels, side)
    return network, describe(network)
