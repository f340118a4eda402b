"""Reading units: run a module up to a layer, and take units' values from that layer's output."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import isqrt
from typing import Any, Literal, Protocol

from torch import Tensor, nn

from core.errors import BadNetwork, UnknownLayer, nearest

Objective = Literal["centre", "channel"]


class HasUnits(Protocol):
    """What reading needs to know of a layer; `core.specs.LayerInfo` has it."""

    @property
    def unit_axis(self) -> int: ...


class _Reached(BaseException):
    """The layer was reached. No Exception, so that no module takes it for an error of its own and goes on."""

    def __init__(self, output: Tensor) -> None:
        super().__init__()
        self.output = output


class Reader:
    """Runs a module forward up to one layer. Comes from `capture`, and works only inside it."""

    def __init__(self, module: nn.Module, read_at: str) -> None:
        self._module = module
        self._read_at = read_at

    def run(self, x: Tensor) -> Tensor:
        """The layer's output of its first call, with its autograd graph; nothing after it is computed.

        Args:
            x: (N, C, H, W), normalised.

        Returns:
            (N, ...): where a module folds parts of the picture into the batch, they stand in an axis of their own.

        Raises:
            BadNetwork: the layer is not called for this input.
        """
        try:
            self._module(x)
        except _Reached as reached:
            return batch_first(reached.output, len(x))
        raise BadNetwork(f"Layer {self._read_at!r} is not reached by an input of shape {tuple(x.shape)}.")


@contextmanager
def capture(module: nn.Module, read_at: str) -> Iterator[Reader]:
    """A reader of the output of the submodule `read_at`; its hook is gone when the block ends, however it ends.

    Raises:
        UnknownLayer: there is no such submodule.
    """
    modules = dict(module.named_modules())
    if not read_at or read_at not in modules:
        raise UnknownLayer(f"There is no module named {read_at!r}.", nearest(read_at, modules))
    hook = modules[read_at].register_forward_hook(_stop)
    try:
        yield Reader(module, read_at)
    finally:
        hook.remove()


def _stop(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
    raise _Reached(first_tensor(output))


def first_tensor(output: Any) -> Tensor:
    """A module's output, or the first tensor of it (attention modules return their weights as well).

    Raises:
        BadNetwork: there is no tensor in it.
    """
    if isinstance(output, Tensor):
        return output
    if isinstance(output, Sequence) and output:
        return first_tensor(output[0])
    raise BadNetwork(f"A module returned {type(output).__name__} where a tensor was expected.")


def all_tensors(value: Any) -> Iterator[Tensor]:
    """The tensors in a tensor, or in lists, tuples and dictionaries of them, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple | dict):
        for part in value.values() if isinstance(value, dict) else value:
            yield from all_tensors(part)


def batch_first(output: Tensor, batch: int) -> Tensor:
    """(N, ...): windows of a picture that a module folded into the batch get an axis of their own after it."""
    return output if len(output) == batch else output.reshape(batch, -1, *output.shape[1:])


def centre_position(output_shape: Sequence[int], unit_axis: int) -> tuple[int, ...]:
    """The position of the centre unit in a layer's output (no batch dimension), without the unit axis.

        odd map    even map
        . . .      . . . .
        . X .      . . . .     index H // 2, W // 2
        . . .      . . X .
                   . . . .

    Tokens in a row are read as the square grid they come from, with or without a class token before it;
    a number of tokens that fits neither is read in its middle.
    """
    sizes = [size for axis, size in enumerate(output_shape) if axis != unit_axis % len(output_shape)]
    return tuple(size // 2 for size in sizes) if len(sizes) != 1 else (_centre_token(sizes[0]),)


def _centre_token(tokens: int) -> int:
    for class_tokens in (1, 0):
        side = isqrt(tokens - class_tokens)
        if side > 0 and side * side == tokens - class_tokens:
            return class_tokens + (side // 2) * side + side // 2
    return tokens // 2


def layer_values(output: Tensor, layer: HasUnits, position: Sequence[int], objective: Objective = "centre") -> Tensor:
    """Every unit's activation: at `position`, or the mean over all positions.

    Args:
        output: (N, ...) of `Reader.run`.
        layer: whose output it is; its `unit_axis` does not count the batch.
        position: indices into the axes that are neither batch nor units, in order; none: the mean over all of them.
        objective: "centre" for the position, "channel" for the mean.

    Returns:
        (N, units)
    """
    values = output.movedim(_axis(output, layer), 1)  # (N, units, ...)
    if objective == "channel" or not position:
        return values.flatten(2).mean(2) if values.ndim > 2 else values
    where: tuple[Any, ...] = (slice(None), slice(None), *position)
    return values[where]


def _axis(output: Tensor, layer: HasUnits) -> int:
    return layer.unit_axis % (output.ndim - 1) + 1
