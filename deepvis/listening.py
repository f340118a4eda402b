"""Hearing many layers in one forward pass: every unit's activations at all its positions, as they are made."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from torch import Tensor, nn

from core.errors import BadNetwork, UnknownLayer, nearest
from core.specs import LayerInfo
from deepvis.reading import batch_first, first_tensor, layer_values

Hear = Callable[[LayerInfo, Tensor], None]
"""Called with a layer and its units' maps (N, units, positions). They may be overwritten as soon as it returns."""


class _Enough(BaseException):
    """The last layer wanted was heard. No Exception, so that no module takes it for an error of its own."""


@contextmanager
def listening(module: nn.Module, layers: Sequence[LayerInfo], hear: Hear) -> Iterator[Callable[[Tensor], None]]:
    """A function that runs the module forward on (N, C, H, W), normalised, up to the last of the layers.

    `hear` is called at the first call of every layer. The hooks are gone when the block ends, however it ends.

    Raises:
        UnknownLayer: the module has no such layer; also BadNetwork, from the function: a layer is not reached.
    """
    modules = dict(module.named_modules())
    here = _Pass(layers, hear)
    with ExitStack() as stack:
        for read_at in here.by_place:
            if not read_at or read_at not in modules:
                raise UnknownLayer(f"There is no module named {read_at!r}.", nearest(read_at, modules))
            stack.callback(modules[read_at].register_forward_hook(here.hook(read_at)).remove)
        yield lambda x: here.run(module, x)


def unit_maps(output: Tensor, layer: LayerInfo) -> Tensor:
    """Every unit's activations at all positions, row by row; at one only for units without a position.

    Args:
        output: (N, ...) of the layer, batch first.
        layer: whose output it is. Where its window has no position (a class score), it is read as
            `deepvis.layers.layer_values` reads it.

    Returns:
        (N, units, positions)
    """
    if not layer.window.position:
        return layer_values(output, layer, ())[..., None]
    return output.movedim(layer.unit_axis % (output.ndim - 1) + 1, 1).flatten(2)


class _Pass:
    """Which layers a pass still waits for, by the module where they are read."""

    def __init__(self, layers: Sequence[LayerInfo], hear: Hear) -> None:
        self.by_place: dict[str, list[LayerInfo]] = {}
        for layer in layers:
            self.by_place.setdefault(layer.read_at, []).append(layer)
        self._hear = hear
        self._waiting: set[str] = set()
        self._rows = 0

    def run(self, module: nn.Module, x: Tensor) -> None:
        self._waiting, self._rows = set(self.by_place), len(x)
        with suppress(_Enough):
            module(x)
        if self._waiting:
            missing = sorted(self._waiting)[0]
            raise BadNetwork(f"Layer {missing!r} is not reached by an input of shape {tuple(x.shape)}.")

    def hook(self, read_at: str) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        def heard(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            if read_at not in self._waiting:
                return
            self._waiting.remove(read_at)
            for layer in self.by_place[read_at]:
                self._hear(layer, unit_maps(batch_first(first_tensor(output), self._rows), layer))
            if not self._waiting:
                raise _Enough

        return heard
