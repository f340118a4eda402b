"""One forward pass, watched: which layers there are, in forward order, and which tensor each of them made."""

import logging
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle
from torch.utils.weak import WeakTensorKeyDictionary

from core.errors import BadNetwork
from deepvis.reading import all_tensors

log = logging.getLogger(__name__)

Kind = Literal["conv", "linear", "norm", "pool", "concat", "attention"]

_NORMS = (_BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm, nn.modules.instancenorm._InstanceNorm)
_POOLS = (
    nn.modules.pooling._MaxPoolNd,
    nn.modules.pooling._AvgPoolNd,
    nn.modules.pooling._AdaptiveMaxPoolNd,
    nn.modules.pooling._AdaptiveAvgPoolNd,
    nn.modules.pooling._LPPoolNd,
)
# Known by name, their own or a base class's: they live in libraries that need not be there.
_NAMED_NORMS = {"FrozenBatchNorm2d", "RMSNorm"}
_NAMED_ATTENTION = {
    "MultiheadAttention",
    "ShiftedWindowAttention",
    "RelativePositionalMultiHeadAttention",
    "WindowAttention",
}
_INPUT = ""  # the picture, among the names of layers
_CONCATENATIONS = ("cat", "concat", "concatenate")


@dataclass(frozen=True, kw_only=True)
class TracedLayer:
    """A layer as the trace saw it at its first call."""

    name: str
    kind: Kind
    read_at: str  # the module whose output is read
    output_shape: tuple[int, ...]  # no batch dimension
    unit_axis: int  # of output_shape
    upstream: frozenset[str]  # names of the layers that its output was computed from
    stride: tuple[int, ...] = ()  # (down, across) of the layer itself, where it has one

    @property
    def units(self) -> int:
        return self.output_shape[self.unit_axis]


def trace(module: nn.Module, x: Tensor) -> list[TracedLayer]:
    """The layers that one forward pass goes through, in the order in which they finish.

    A module called again is counted at its first call. A unit is read at its layer's own output; where batch
    normalisation consumes that very tensor, unchanged, it is read after the normalisation.

    Args:
        module: in evaluation mode.
        x: (1, C, H, W), normalised.

    Raises:
        BadNetwork: the module cannot run on `x`, or no layer was found.
    """
    watch = _Watch(x)
    with torch.no_grad(), _hooked(module, watch), watch:
        try:
            module(x)
        except Exception as error:  # the module's own code: whatever it raises is the reason
            reason = (str(error).splitlines() or [""])[0]
            raise BadNetwork(
                f"The network does not run on an input of shape {tuple(x.shape)}: {type(error).__name__}: {reason}."
            ) from error
    if not watch.layers:
        raise BadNetwork("The network has no layer that is a module of a known kind.")
    return [replace(layer, read_at=watch.normalised.get(layer.name, layer.name)) for layer in watch.layers]


@dataclass(frozen=True)
class _Made:
    """A layer's output tensor right after it was made; a later version means that something wrote into it."""

    layer: str
    version: int


@dataclass(frozen=True)
class _Joined:
    """A concatenation's result right after it was made, and the axis it ran along."""

    axis: int
    version: int


class _Watch(TorchFunctionMode):
    """Follows tensors through a forward pass: which layers they come from, and whether they were concatenated."""

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        self.layers: list[TracedLayer] = []
        self.normalised: dict[str, str] = {}  # layer -> normalisation that consumes its output
        self._called: set[str] = set()
        # Layers that a tensor was computed from; outputs of convolutions and linear layers; results of concatenations.
        self._origin: MutableMapping[Tensor, frozenset[str]] = WeakTensorKeyDictionary()
        self._origin[x] = frozenset({_INPUT})
        self._made: MutableMapping[Tensor, _Made] = WeakTensorKeyDictionary()
        self._joined: MutableMapping[Tensor, _Joined] = WeakTensorKeyDictionary()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name = getattr(func, "__name__", "")
        made = list(all_tensors(args[0] if name == "__setitem__" else result))
        if made:
            origin = self._origin_of([*args, *kwargs.values()])
            for tensor in made:
                self._origin[tensor] = origin | self._origin.get(tensor, frozenset())
            if name in _CONCATENATIONS:
                self._joined[made[0]] = _Joined(_cat_axis(args, kwargs) % made[0].ndim, made[0]._version)
        return result

    def before(self, name: str, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        """Called as the module `name` starts."""
        if name in self._called or not _is_batch_norm(module) or not inputs or not isinstance(inputs[0], Tensor):
            return
        made = self._made.get(inputs[0])
        if made is not None and made.version == inputs[0]._version:
            self.normalised.setdefault(made.layer, name)

    def after(self, name: str, module: nn.Module, inputs: tuple[Any, ...], result: Any) -> None:
        """Called as the module `name` ends."""
        if name in self._called or not (tensors := list(all_tensors(result))):
            return
        self._called.add(name)
        output = tensors[0]
        joined = None if any(output is t for t in all_tensors(inputs)) else self._joined_as(output)
        kind = "concat" if joined else _kind(module)
        # What is not computed from the picture (Swin v2 makes its position biases by linear layers) shows nothing.
        seen = _INPUT in self._origin.get(output, frozenset())
        if kind is None or not seen or output.ndim < 2:
            return
        if _is_sequence_first(output):
            log.warning("layer %s is left out: its output %s has no batch in front", name, tuple(output.shape))
        else:
            self._keep(name, kind, output, _unit_axis(kind, module, output, joined), _stride(module))

    def _joined_as(self, output: Tensor) -> _Joined | None:
        """The concatenation that made this tensor, if nothing wrote into it since; once only, for the innermost."""
        joined = self._joined.pop(output, None)
        return joined if joined and joined.version == output._version else None

    def _keep(self, name: str, kind: Kind, output: Tensor, axis: int, stride: tuple[int, ...]) -> None:
        origin = self._origin.get(output, frozenset())
        # With a picture's windows folded into the batch, the batch axis counts windows: see `reading.batch_first`.
        batch_axes = 1 if len(output) == 1 else 0
        self.layers.append(
            TracedLayer(
                name=name,
                kind=kind,
                read_at=name,
                output_shape=tuple(output.shape[batch_axes:]),
                unit_axis=axis - batch_axes,
                upstream=origin - {_INPUT},
                stride=stride,
            )
        )
        self._origin[output] = origin | {name}
        if kind in ("conv", "linear"):
            self._made[output] = _Made(name, output._version)

    def _origin_of(self, values: Sequence[Any]) -> frozenset[str]:
        return frozenset().union(*(self._origin.get(t, frozenset()) for t in all_tensors(values)))


@contextmanager
def _hooked(module: nn.Module, watch: _Watch) -> Iterator[None]:
    with ExitStack() as stack:
        for name, child in module.named_modules():
            if name:
                stack.callback(_before_hook(name, child, watch).remove)
                stack.callback(_after_hook(name, child, watch).remove)
        yield


def _before_hook(name: str, module: nn.Module, watch: _Watch) -> RemovableHandle:
    return module.register_forward_pre_hook(lambda m, inputs: watch.before(name, m, inputs))


def _after_hook(name: str, module: nn.Module, watch: _Watch) -> RemovableHandle:
    return module.register_forward_hook(lambda m, inputs, result: watch.after(name, m, inputs, result))


# --- what a module is ----------------------------------------------------------------


def _kind(module: nn.Module) -> Kind | None:
    names = {cls.__name__ for cls in type(module).__mro__}
    kinds: tuple[tuple[Kind, bool], ...] = (
        ("conv", isinstance(module, _ConvNd)),
        ("linear", isinstance(module, nn.Linear)),
        ("norm", isinstance(module, _NORMS) or bool(names & _NAMED_NORMS)),
        ("pool", isinstance(module, _POOLS)),
        ("attention", bool(names & _NAMED_ATTENTION)),
    )
    return next((kind for kind, found in kinds if found), None)


def _is_batch_norm(module: nn.Module) -> bool:
    return isinstance(module, _BatchNorm) or type(module).__name__ == "FrozenBatchNorm2d"


def _stride(module: nn.Module) -> tuple[int, ...]:
    """Of a convolution or pooling over maps; empty for all else."""
    stride = getattr(module, "stride", ())
    pair = (stride, stride) if isinstance(stride, int) else tuple(stride)
    return pair if len(pair) == 2 and not getattr(module, "transposed", False) else ()


def _unit_axis(kind: Kind, module: nn.Module, output: Tensor, joined: _Joined | None) -> int:
    """The axis of the output, batch included, that counts units."""
    last = output.ndim - 1
    if kind in ("linear", "attention"):
        return last
    if kind == "norm":
        return _normalised_axis(module, output)
    if kind == "concat":
        return last if output.ndim == 3 or (joined and joined.axis == last) else 1
    return 1


def _normalised_axis(module: nn.Module, output: Tensor) -> int:
    """Layer normalisation runs over the last axis; subclasses of it turn channels there and back."""
    shape = getattr(module, "normalized_shape", None)
    if shape is None:
        return 1
    turned = type(module) not in (nn.LayerNorm, nn.RMSNorm) and output.shape[1] == shape[-1]
    return 1 if turned else output.ndim - 1


def _is_sequence_first(output: Tensor) -> bool:
    """(T, 1, D) for a batch of one: the batch is not in front, so that a picture's part cannot be told by its row."""
    return output.ndim == 3 and len(output) != 1 and output.shape[1] == 1


def _cat_axis(args: Sequence[Any], kwargs: dict[str, Any]) -> int:
    axis = kwargs.get("dim", kwargs.get("axis", args[1] if len(args) > 1 else 0))
    return axis if isinstance(axis, int) else 0
