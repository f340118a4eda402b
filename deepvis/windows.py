"""Windows: the part of the input that a layer's centre unit sees, measured by gradient and verified.

A unit of an early layer sees a few pixels. Optimising just those gives the same picture at a fraction of the cost,
if the network, run on the window alone, gives that unit the same activation and the same gradient. So a window is
measured (where the gradient is not zero, over several random pictures), aligned to the layer's total stride, and
then tried on fresh pictures: where it is not exact it grows, and where nothing smaller is exact it is the whole input.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from core.specs import Window
from deepvis.networks.network import Network
from deepvis.passes import CentrePass, Texture, direction, random_pictures
from deepvis.reading import capture, centre_position, layer_values
from deepvis.tracing import TracedLayer

log = logging.getLogger(__name__)

_WHOLE = 0.95  # a window that covers this share of the input saves nothing: the whole input is taken
_VALUE_TOLERANCE = 1e-4  # of the largest activation: float32 rounding through a hundred layers stays below
_GRADIENT_TOLERANCE = 1e-2  # of the gradient's norm: rounding carries a few rectifiers across zero
_STRIDED_KINDS = ("conv", "pool", "concat")
_STRIDE_FITS = (0.6, 1.6)  # how far edges may take the ratio of two maps' sides from the stride between them


@dataclass(frozen=True)
class Box:
    """A rectangle of the input, in pixels; bottom and right are exclusive."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def area(self) -> int:
        return (self.bottom - self.top) * (self.right - self.left)

    def union(self, other: "Box | None") -> "Box":
        if other is None:
            return self
        top, left = min(self.top, other.top), min(self.left, other.left)
        return Box(top, left, max(self.bottom, other.bottom), max(self.right, other.right))

    def aligned(self, stride: tuple[int, int]) -> "Box":
        """The same with its top and left corner on a multiple of the stride."""
        return Box(self.top // stride[0] * stride[0], self.left // stride[1] * stride[1], self.bottom, self.right)

    def grown(self, before: tuple[int, int], after: tuple[int, int], height: int, width: int) -> "Box":
        """The same, larger by `before` at the top and left, by `after` at the bottom and right, within the input."""
        return Box(
            max(0, self.top - before[0]),
            max(0, self.left - before[1]),
            min(height, self.bottom + after[0]),
            min(width, self.right + after[1]),
        )

    def cut(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, height, width)"""
        return x[:, :, self.top : self.bottom, self.left : self.right]


def measure_windows(network: Network, traced: Sequence[TracedLayer]) -> dict[str, Window]:
    """The window of every layer's centre unit, by layer name. Deterministic.

    Args:
        network: a network.
        traced: its layers, from `deepvis.tracing.trace`.
    """
    return _Measurement(network, traced).run()


def support(gradient: Tensor) -> Box | None:
    """The smallest box around all that is not zero in (N, C, H, W); None if all is."""
    seen = (gradient != 0).any(0).any(0)  # (H, W)
    rows, columns = seen.any(1).nonzero().flatten(), seen.any(0).nonzero().flatten()
    if not len(rows):
        return None
    return Box(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)


def total_stride(layer: TracedLayer, by_name: Mapping[str, TracedLayer], input_shape: Sequence[int]) -> tuple[int, int]:
    """Pixels of the input between neighbouring units, down and across.

    The input's side over the map's is no whole number where layers pad or cut off edges (224 / 13). But on the way
    down each size of map is reached from the next larger one by a stride, and the strides multiply. What is wrong
    here is found out when the window is tried.
    """
    way = [by_name[name] for name in layer.upstream if _has_map(by_name[name])]
    way = [*sorted(way, key=list(by_name.values()).index), layer]
    return _stride_along(way, 0, input_shape[1]), _stride_along(way, 1, input_shape[2])


def _stride_along(way: Sequence[TracedLayer], axis: int, side: int) -> int:
    own = _map_size(way[-1])[axis]
    first_of: dict[int, TracedLayer] = {}  # size of map -> the first layer that made one
    for layer in way:
        if own <= (size := _map_size(layer)[axis]) < side:
            first_of.setdefault(size, layer)
    total = 1
    for size in sorted(first_of, reverse=True):
        total *= _step(first_of[size].stride, axis, side / size)
        side = size
    return total


def _step(stride: tuple[int, ...], axis: int, ratio: float) -> int:
    """A layer's own stride if it accounts for the ratio of sides; else something that is no layer shrank the map."""
    fits = stride and _STRIDE_FITS[0] < ratio / stride[axis] < _STRIDE_FITS[1]
    return stride[axis] if fits else max(1, round(ratio))


def _has_map(layer: TracedLayer) -> bool:
    return layer.kind in _STRIDED_KINDS and len(layer.output_shape) == 3


def _map_size(layer: TracedLayer) -> tuple[int, int]:
    sizes = [size for axis, size in enumerate(layer.output_shape) if axis != layer.unit_axis % len(layer.output_shape)]
    return sizes[0], sizes[1]


class _Measurement:
    """One network's windows in the making: first look, second look, trial; each sees the layers still open."""

    def __init__(self, network: Network, traced: Sequence[TracedLayer]) -> None:
        self.network = network
        self.traced = traced
        self.by_name = {layer.name: layer for layer in traced}
        self.generator = torch.Generator().manual_seed(1)
        self.windows: dict[str, Window] = {}
        self.boxes: dict[str, Box] = {}  # by read_at: what was seen so far

    def run(self) -> dict[str, Window]:
        for layer in self.traced:
            if len(layer.output_shape) != 3:  # no map of units: each sees everything
                self._take_whole(layer)
        self._look("white")
        self._look("smooth")
        self._try_all()
        return self.windows

    @property
    def _open(self) -> list[TracedLayer]:
        return [layer for layer in self.traced if layer.name not in self.windows]

    def _pass(self, *kinds: Texture) -> CentrePass:
        return CentrePass(self.network.module, random_pictures(self.network, kinds, self.generator), self._open)

    def _look(self, kind: Texture) -> None:
        """Widen every open layer's box by the support on new pictures; settle those that see everything."""
        if not self._open:
            return
        seen: dict[str, Box | None] = {}
        full_pass = self._pass(kind)
        for layer in self._open:
            if self._sees_whole(layer):
                self._take_whole(layer)
                continue
            if layer.read_at not in seen:
                seen[layer.read_at] = support(full_pass.gradient(layer))
            self._widen(layer, seen[layer.read_at])

    def _widen(self, layer: TracedLayer, box: Box | None) -> None:
        if box is not None:
            self.boxes[layer.read_at] = box.union(self.boxes.get(layer.read_at))
            if self._is_whole(self.boxes[layer.read_at]):
                self._take_whole(layer)

    def _try_all(self) -> None:
        if not self._open:
            return
        full_pass = self._pass("white", "smooth")
        found: dict[str, Window] = {}
        for layer in self._open:
            if self._sees_whole(layer):
                self._take_whole(layer)
            elif layer.read_at in found:
                self.windows[layer.name] = found[layer.read_at]
            else:
                trial = _Trial(
                    self.network, layer, full_pass, total_stride(layer, self.by_name, self.network.input_shape)
                )
                self.windows[layer.name] = found[layer.read_at] = self._smallest_exact(layer, trial)

    def _smallest_exact(self, layer: TracedLayer, trial: "_Trial") -> Window:
        seen = support(trial.gradient)
        box = seen.union(self.boxes.get(layer.read_at)) if seen else self.boxes.get(layer.read_at)
        if box is None:  # nothing moved these units: nothing is known about what they see
            return self._whole(layer)
        exact = self._grow(box.aligned(trial.stride), trial)
        return trial.window(exact) if exact else self._whole(layer)

    def _grow(self, box: Box, trial: "_Trial") -> Box | None:
        """The box itself or the first exact one of a row of larger ones, made as small as it stays exact."""
        _, height, width = self.network.input_shape
        steps = 0
        while True:
            down, across = trial.stride[0] * steps, trial.stride[1] * steps
            larger = box.grown((down, across), (down, across), height, width)
            if self._is_whole(larger):
                return None
            if trial.is_exact(larger):
                return larger if steps == 0 else self._shrink(box, larger, steps, trial)
            steps = max(1, 2 * steps)

    def _shrink(self, box: Box, exact: Box, steps: int, trial: "_Trial") -> Box:
        """Take back the growth at the bottom and right that was not needed, by pixels."""
        too_small, enough = 0, steps * max(trial.stride)
        while enough - too_small > 1:
            middle = (too_small + enough) // 2
            smaller = Box(
                exact.top, exact.left, min(exact.bottom, box.bottom + middle), min(exact.right, box.right + middle)
            )
            enough, too_small, exact = (
                (middle, too_small, smaller) if trial.is_exact(smaller) else (enough, middle, exact)
            )
        return exact

    def _is_whole(self, box: Box) -> bool:
        _, height, width = self.network.input_shape
        return box.area >= _WHOLE * height * width

    def _sees_whole(self, layer: TracedLayer) -> bool:
        """Whether something that the layer is computed from sees everything already."""
        return any(name in self.windows and self.windows[name].full for name in layer.upstream)

    def _take_whole(self, layer: TracedLayer) -> None:
        self.windows[layer.name] = self._whole(layer)

    def _whole(self, layer: TracedLayer) -> Window:
        _, height, width = self.network.input_shape
        centre = centre_position(layer.output_shape, layer.unit_axis)
        return Window(top=0, left=0, height=height, width=width, position=centre, full=True)


class _Trial:
    """One layer's centre units on whole fresh pictures, and on windows of them."""

    def __init__(self, network: Network, layer: TracedLayer, full_pass: CentrePass, stride: tuple[int, int]) -> None:
        self.network = network
        self.layer = layer
        self.stride = stride
        self._pass = full_pass

    @cached_property
    def values(self) -> Tensor:
        """(N, units) on the whole pictures."""
        return self._pass.values(self.layer)

    @cached_property
    def gradient(self) -> Tensor:
        """(N, C, H, W) on the whole pictures."""
        return self._pass.gradient(self.layer)

    def position(self, box: Box) -> tuple[int, int]:
        down, across = centre_position(self.layer.output_shape, self.layer.unit_axis)
        return down - box.top // self.stride[0], across - box.left // self.stride[1]

    def window(self, box: Box) -> Window:
        return Window(
            top=box.top,
            left=box.left,
            height=box.bottom - box.top,
            width=box.right - box.left,
            position=self.position(box),
            full=False,
        )

    def is_exact(self, box: Box) -> bool:
        """Whether the network, run on the window alone, gives the same activations and the same gradient."""
        x = box.cut(self._pass.x.detach()).clone().requires_grad_()
        try:
            with capture(self.network.module, self.layer.read_at) as reader:
                values = layer_values(reader.run(x), self.layer, self.position(box))
            (gradient,) = torch.autograd.grad((values * direction(self.layer)).sum(), x, materialize_grads=True)
        except Exception as error:  # the network's own code refuses inputs of this size: it cannot be cropped so
            log.debug("%s does not run on %s: %s", self.layer.name, box, error)
            return False
        return self._same_values(values.detach()) and self._same_gradient(box, gradient)

    def _same_values(self, values: Tensor) -> bool:
        return bool((values - self.values).abs().max() <= _VALUE_TOLERANCE * self.values.abs().max())

    def _same_gradient(self, box: Box, gradient: Tensor) -> bool:
        difference = self.gradient.clone()
        box.cut(difference).sub_(gradient)
        return bool(difference.norm() <= _GRADIENT_TOLERANCE * self.gradient.norm())
