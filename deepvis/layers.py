"""The layers and units of any network, discovered in one traced forward pass; and how to read them."""

import torch
from torch import nn

from core.specs import LayerInfo, NetworkInfo, Window
from deepvis.networks.network import Network
from deepvis.passes import random_pictures
from deepvis.reading import Objective, Reader, capture, centre_position, layer_values
from deepvis.tracing import TracedLayer, trace
from deepvis.windows import measure_windows

__all__ = ["Objective", "Reader", "capture", "centre_position", "describe", "layer_values"]

_DEFAULT_KINDS = ("conv", "linear")


def describe(network: Network) -> NetworkInfo:
    """Every layer of the network in forward order, with its units and the window its centre unit sees.

    Raises:
        BadNetwork: it does not run on an input of its own shape, or has no layers.
    """
    generator = torch.Generator().manual_seed(0)
    traced = trace(network.module, random_pictures(network, ["white"], generator))
    windows = measure_windows(network, traced)
    labelled = _labelled(traced, len(network.labels))
    return NetworkInfo(
        source=network.source,
        weights_hash=network.weights_hash,
        input_shape=network.input_shape,
        mean=network.mean,
        std=network.std,
        labels=network.labels,
        parameters=_parameters(network.module),
        layers=tuple(
            _info(layer, order, windows[layer.name], network.input_shape, layer.name == labelled)
            for order, layer in enumerate(traced)
        ),
    )


def _info(
    layer: TracedLayer, order: int, window: Window, input_shape: tuple[int, int, int], labelled: bool
) -> LayerInfo:
    if labelled:  # a class unit is the class score: of a map, the mean over all positions of the whole input
        window = Window(top=0, left=0, height=input_shape[1], width=input_shape[2], position=(), full=True)
    return LayerInfo(
        name=layer.name,
        kind=layer.kind,
        order=order,
        units=layer.units,
        output_shape=layer.output_shape,
        unit_axis=layer.unit_axis,
        read_at=layer.read_at,
        window=window,
        labelled=labelled,
        default=layer.kind in _DEFAULT_KINDS,
    )


def _labelled(traced: list[TracedLayer], labels: int) -> str | None:
    """The layer whose units the labels belong to: the last convolution or linear layer with as many units."""
    fitting = [layer.name for layer in traced if layer.kind in _DEFAULT_KINDS and layer.units == labels]
    return fitting[-1] if fitting else None


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
