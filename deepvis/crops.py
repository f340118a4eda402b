"""Crops: the part of a picture that a unit at any position sees, its receptive field, in one size for a whole layer."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.specs import LayerInfo
from deepvis.listening import listening
from deepvis.networks.network import Network
from deepvis.passes import Texture, direction, random_pictures
from deepvis.pictures import Pixels
from deepvis.tracing import trace
from deepvis.windows import Box, support, total_stride

# Where on the map a field is measured, one random picture each: at its centre, and a third from its edges.
_PLACES = ((1 / 2, 1 / 2), (1 / 2, 1 / 2), (1 / 3, 1 / 3), (2 / 3, 2 / 3), (1 / 3, 2 / 3), (2 / 3, 1 / 3))
_TEXTURES: tuple[Texture, ...] = ("white", "smooth", "white", "smooth", "white", "smooth")


@dataclass(frozen=True, kw_only=True)
class Field:
    """The receptive fields of a layer's units, in pixels of the input: the same box, moved by the stride."""

    top: int  # of the unit at the first position; negative where it reaches beyond the picture
    left: int
    height: int
    width: int
    stride: tuple[int, int] = (0, 0)  # down and across; 0: every unit sees the whole picture
    columns: int = 1  # of the map of positions

    def box(self, position: int) -> Box:
        """What the unit at a position (flat index into the map, -1 for none) sees; it may reach beyond the picture."""
        row, column = divmod(max(position, 0), self.columns)
        top, left = self.top + row * self.stride[0], self.left + column * self.stride[1]
        return Box(top, left, top + self.height, left + self.width)


def measure_fields(network: Network, layers: Sequence[LayerInfo]) -> dict[str, Field]:
    """The fields of the layers, by name; deterministic.

    Measured by gradient at several positions, over random pictures. Layers whose units see everything, or have no
    positions on a map, have the whole picture, as have those whose units do not all see the same.
    """
    fields = {layer.name: _whole(network) for layer in layers}
    open_layers = [layer for layer in layers if _has_map(layer)]
    if not open_layers:
        return fields
    x = random_pictures(network, _TEXTURES, torch.Generator().manual_seed(2)).requires_grad_()
    by_name = {layer.name: layer for layer in trace(network.module, x[:1].detach())}
    sums = _sums(network, open_layers, x)
    seen: dict[str, list[Box | None]] = {}  # by read_at
    for layer in open_layers:
        if layer.read_at not in seen:
            seen[layer.read_at] = _supports(sums[layer.name], x)
        stride = total_stride(by_name[layer.name], by_name, network.input_shape)
        fields[layer.name] = _joined(layer, seen[layer.read_at], stride) or _whole(network)
    return fields


def crop(pixels: Pixels, box: Box, fill: Sequence[float]) -> Pixels:
    """The box of a picture (H, W, C); what lies beyond the picture has the colour `fill` (C,), 0..1."""
    colour = np.round(255 * np.array(fill)).astype(np.uint8)
    result = np.empty((box.bottom - box.top, box.right - box.left, pixels.shape[2]), np.uint8)
    result[:] = colour
    _paste(pixels, result, box)
    return result


def crop_view(view: NDArray[np.float32], box: Box) -> NDArray[np.float32]:
    """The box of a backward view (C, H, W); beyond the picture there is no signal."""
    result = np.zeros((box.bottom - box.top, box.right - box.left, len(view)), np.float32)
    _paste(view.transpose(1, 2, 0), result, box)
    return result.transpose(2, 0, 1)


def _paste(source: NDArray[np.generic], target: NDArray[np.generic], box: Box) -> None:
    """Copy what the box holds of the source (H, W, C) to its place in the target (height, width, C) of the box."""
    top, left = max(box.top, 0), max(box.left, 0)
    part = source[top : max(box.bottom, 0), left : max(box.right, 0)]
    down, across = top - box.top, left - box.left
    target[down : down + part.shape[0], across : across + part.shape[1]] = part


# --- measuring --------------------------------------------------------------------------


def _whole(network: Network) -> Field:
    _, height, width = network.input_shape
    return Field(top=0, left=0, height=height, width=width)


def _has_map(layer: LayerInfo) -> bool:
    return len(layer.output_shape) == 3 and bool(layer.window.position) and not layer.window.full


def _map_size(layer: LayerInfo) -> tuple[int, int]:
    height, width = (size for axis, size in enumerate(layer.output_shape) if axis != layer.unit_axis % 3)
    return height, width


def _places(layer: LayerInfo) -> list[tuple[int, int]]:
    height, width = _map_size(layer)
    return [(int(height * down), int(width * across)) for down, across in _PLACES]


def _sums(network: Network, layers: Sequence[LayerInfo], x: Tensor) -> dict[str, Tensor]:
    """For each layer the sum over pictures of all units at the picture's place, at random weights."""
    sums: dict[str, Tensor] = {}

    def hear(layer: LayerInfo, maps: Tensor) -> None:
        _, width = _map_size(layer)
        flat = torch.tensor([row * width + column for row, column in _places(layer)])
        chosen = maps[torch.arange(len(x)), :, flat]  # (N, units)
        sums[layer.name] = (chosen * direction(layer)).sum()

    with torch.enable_grad(), listening(network.module, layers, hear) as run:
        run(x)
    return sums


def _supports(total: Tensor, x: Tensor) -> list[Box | None]:
    """Where each picture's gradient is not zero."""
    if not total.requires_grad:
        return [None] * len(x)
    (gradient,) = torch.autograd.grad(total, x, retain_graph=True, materialize_grads=True)
    return [support(one[None]) for one in gradient]


def _joined(layer: LayerInfo, seen: Sequence[Box | None], stride: tuple[int, int]) -> Field | None:
    """All that was seen, moved to the first position; None where nothing was, or where it does not fit together."""
    joined: Box | None = None
    highest = widest = 0
    for (row, column), box in zip(_places(layer), seen, strict=True):
        if box is not None:
            joined = _moved(box, -row * stride[0], -column * stride[1]).union(joined)
            highest, widest = max(highest, box.bottom - box.top), max(widest, box.right - box.left)
    if joined is None:
        return None
    height, width = joined.bottom - joined.top, joined.right - joined.left
    if height > highest + stride[0] or width > widest + stride[1]:
        return None
    return Field(
        top=joined.top, left=joined.left, height=height, width=width, stride=stride, columns=_map_size(layer)[1]
    )


def _moved(box: Box, down: int, across: int) -> Box:
    return Box(box.top + down, box.left + across, box.bottom + down, box.right + across)
