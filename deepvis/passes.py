"""Forward passes over random pictures that keep what every layer's centre unit says, and its input gradient."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from core.specs import LayerInfo
from deepvis.networks.network import Network
from deepvis.reading import batch_first, centre_position, first_tensor, layer_values
from deepvis.tracing import TracedLayer

Texture = Literal["white", "smooth"]


def random_pictures(network: Network, textures: Sequence[Texture], generator: torch.Generator) -> Tensor:
    """Random input: (N, C, H, W), normalised, one picture of each texture named, over the whole range of pixels.

    Trained networks answer differently to white and smooth noise: what one leaves silent behind a rectifier, the
    other wakes.
    """
    pixels = torch.stack([_noise(texture, network.input_shape, generator) for texture in textures])
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (network.mean, network.std))
    return (pixels - mean) / std


def _noise(texture: Texture, shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
    """(C, H, W) in 0..1."""
    white = torch.rand(shape, generator=generator)
    if texture == "white":
        return white
    coarse = torch.rand(1, shape[0], 12, 12, generator=generator)
    smooth = functional.interpolate(coarse, shape[1:], mode="bicubic")[0].clamp(0, 1)
    return 0.8 * smooth + 0.2 * white


def direction(layer: TracedLayer | LayerInfo) -> Tensor:
    """(units,): the random weights under which a layer's units are summed, so that no gradients cancel out."""
    return torch.randn(layer.units, generator=torch.Generator().manual_seed(layer.units))


class _Enough(BaseException):
    """The last layer wanted has answered. No Exception, so that no module takes it for an error of its own."""


class CentrePass:
    """One forward pass over pictures: the centre units' activations and gradients, layer by layer.

    Args:
        module: the network's.
        x: (N, C, H, W), normalised.
        layers: whose centre units are kept; nothing after the last of them is computed.
    """

    def __init__(self, module: nn.Module, x: Tensor, layers: Sequence[TracedLayer]) -> None:
        self.x = x.detach().requires_grad_()
        self._values: dict[str, Tensor] = {}  # by read_at
        self._waiting = {layer.read_at: layer for layer in layers}
        with _hooked(module, self), suppress(_Enough):
            module(self.x)

    def values(self, layer: TracedLayer) -> Tensor:
        """(N, units): what the centre units say."""
        return self._values[layer.read_at].detach()

    def gradient(self, layer: TracedLayer) -> Tensor:
        """(N, C, H, W): of the centre units' sum, each weighed by `direction`, with respect to the pictures."""
        total = (self._values[layer.read_at] * direction(layer)).sum()
        if not total.requires_grad:  # cut off from the picture on the way
            return torch.zeros_like(self.x)
        (gradient,) = torch.autograd.grad(total, self.x, retain_graph=True, materialize_grads=True)
        return gradient

    def keep(self, read_at: str, output: Any) -> None:
        """Called with the output of the module `read_at`; its first call counts."""
        layer = self._waiting.pop(read_at, None)
        if layer is not None:
            centre = centre_position(layer.output_shape, layer.unit_axis)
            # A copy, taken now: what comes next may write into the output.
            self._values[read_at] = layer_values(batch_first(first_tensor(output), len(self.x)), layer, centre).clone()
        if not self._waiting:
            raise _Enough


@contextmanager
def _hooked(module: nn.Module, kept: CentrePass) -> Iterator[None]:
    modules = dict(module.named_modules())
    with ExitStack() as stack:
        for read_at in list(kept._waiting):
            stack.callback(modules[read_at].register_forward_hook(_keeper(kept, read_at)).remove)
        yield


def _keeper(kept: CentrePass, read_at: str) -> Any:
    return lambda module, inputs, output: kept.keep(read_at, output)
