"""The autograd graph of a forward pass: the operations between the picture and a unit, and what kind each is of.

The graph holds every operation by one name however it was written: a rectifier is the same node as a module, a
function, a method or in place. So nothing of a network needs to be patched to change how signals go back through it.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node, get_gradient_edge
from torch.overrides import TorchFunctionMode

from core.specs import LayerInfo
from deepvis.reading import all_tensors, first_tensor

# Operations through which a signal goes back by their transpose, whatever the picture.
_LINEAR = frozenset(
    re.findall(
        r"\w+",
        """
        Add Sub Rsub Neg Cat Stack View ReshapeAlias UnsafeView AsStrided Alias Clone ToCopy Copy Expand Permute
        Transpose T Squeeze Unsqueeze Select Slice Split SplitWithSizes Unbind Index IndexSelect Gather Roll Flip Repeat
        Unfold ConstantPadNd ReflectionPad2D ReplicationPad2D Im2Col Col2Im PixelShuffle PixelUnshuffle Mean Sum
        AvgPool2D AvgPool3D AdaptiveAvgPool2D AdaptiveAvgPool3D MkldnnAdaptiveAvgPool2D
        UpsampleNearest2D UpsampleNearestExact2D UpsampleBilinear2D UpsampleBicubic2D
        """,
    )
)
_MAX_POOLS = ("MaxPool2DWithIndices", "MaxPool3DWithIndices", "AdaptiveMaxPool2D", "AdaptiveMaxPool3D")
# Linear as long as no more than one of these inputs depends on the picture.
_FACTORS = {
    "Mul": (0, 1),
    "Mm": (0, 1),
    "Bmm": (0, 1),
    "Mv": (0, 1),
    "Addmm": (1, 2),
    "Baddbmm": (1, 2),
    "Convolution": (0, 1, 2),
}
_NORMS = ("NativeBatchNorm", "CudnnBatchNorm", "MiopenBatchNorm")


def operation(node: Node) -> str:
    """The operation's name: "Relu" for a `ReluBackward0`."""
    return re.sub(r"Backward\d*$", "", node.name().rpartition("::")[2])


def is_rectifier(node: Node) -> bool:
    """Whether the operation is max(x, 0), or that with an upper limit."""
    limit = {"Hardtanh": "min_val", "Threshold": "threshold", "Clamp": "min", "ClampMin": "min"}.get(operation(node))
    if limit is None:
        return operation(node) == "Relu"
    value = getattr(node, f"_saved_{limit}")
    return not isinstance(value, Tensor) and value == 0


class Way:
    """The operations between a picture and what was computed from it.

    Args:
        end: what was computed, with its graph.
        x: the picture, a leaf of that graph.
    """

    def __init__(self, end: Tensor | Sequence[Tensor], x: Tensor) -> None:
        ends = [end] if isinstance(end, Tensor) else end
        self._picture = get_gradient_edge(x).node
        self._nodes = list(_nodes([tensor.grad_fn for tensor in ends if tensor.grad_fn is not None]))
        self._dependent = self._find_dependent()

    @property
    def operations(self) -> list[Node]:
        """Those that depend on the picture, from the end backwards."""
        return [node for node in self._nodes if node in self._dependent and node is not self._picture]

    @property
    def rectifiers(self) -> list[Node]:
        """The rectifiers among them."""
        return [node for node in self.operations if is_rectifier(node)]

    @property
    def undefined(self) -> list[Node]:
        """Those through which a signal cannot be sent back but as a gradient."""
        return [node for node in self.operations if not self._is_defined(node)]

    def consumers(self, node: Node) -> list[Node]:
        """The operations that take the result of `node`."""
        return [other for other in self._nodes if any(source is node for source, _ in other.next_functions)]

    def _is_defined(self, node: Node) -> bool:
        name = operation(node)
        sources = [source in self._dependent for source, _ in node.next_functions]
        if name in _FACTORS:
            return sum(sources[i] for i in _FACTORS[name] if i < len(sources)) <= 1
        if name == "Div":
            return not any(sources[1:])
        if name in _NORMS:
            return not getattr(node, "_saved_training", False)
        return name in _LINEAR or name in _MAX_POOLS or is_rectifier(node)

    def _find_dependent(self) -> set[Node]:
        """What leads to the picture. The order of nodes is nearly that of the forward pass; repeat until it stays."""
        found, before = {self._picture}, 0
        while len(found) > before:
            before = len(found)
            for node in reversed(self._nodes):
                if any(source in found for source, _ in node.next_functions):
                    found.add(node)
        return found


def _nodes(ends: Sequence[Node]) -> Iterator[Node]:
    """Every node that the ends were computed from, the ends first."""
    seen, waiting = set(ends), list(ends)
    for node in waiting:
        yield node
        new = [source for source, _ in node.next_functions if source is not None and source not in seen]
        new = list(dict.fromkeys(new))
        seen.update(new)
        waiting.extend(new)


def rectified_layers(module: nn.Module, layers: Sequence[LayerInfo], x: Tensor) -> frozenset[str]:
    """The names of the layers whose outputs are taken by rectifiers, and by nothing else.

    Args:
        module: in evaluation mode.
        layers: of that module.
        x: (N, C, H, W), normalised: any picture.
    """
    made: dict[str, Node | None] = {}
    x = x.detach().requires_grad_()
    modules = dict(module.named_modules())
    with ExitStack() as stack, torch.enable_grad():
        for read_at in {layer.read_at for layer in layers}:
            stack.callback(modules[read_at].register_forward_hook(_noting(made, read_at)).remove)
        way = Way(list(all_tensors(module(x))), x)
    rectified = {read_at for read_at, node in made.items() if node is not None and _is_rectified(way, node)}
    return frozenset(layer.name for layer in layers if layer.read_at in rectified)


def _noting(made: dict[str, Node | None], read_at: str) -> Callable[..., None]:
    def note(module: nn.Module, inputs: Any, output: Any) -> None:
        made.setdefault(read_at, first_tensor(output).grad_fn)

    return note


def _is_rectified(way: Way, node: Node) -> bool:
    consumers = way.consumers(node)
    return bool(consumers) and all(is_rectifier(consumer) for consumer in consumers)


class Owners(TorchFunctionMode):
    """Remembers which module made which operation of the graph."""

    def __init__(self) -> None:
        super().__init__()
        self._running: list[str] = []  # modules that have begun and not ended, innermost last
        self._owner: dict[Node, str] = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in all_tensors(result):
            if tensor.grad_fn is not None and self._running:
                self._owner.setdefault(tensor.grad_fn, self._running[-1])
        return result

    def of(self, node: Node, way: Way) -> str:
        """The module that made the operation; of one inside a larger function, that which called the function."""
        while node not in self._owner and (consumers := way.consumers(node)):
            node = consumers[0]
        return self._owner.get(node, "")

    def begin(self, name: str) -> None:
        """The module `name` begins."""
        self._running.append(name)

    def end(self) -> None:
        """The module that began last ends."""
        self._running.pop()


@contextmanager
def owners(module: nn.Module) -> Iterator[Owners]:
    """Watches a forward pass; its hooks are gone when the block ends, however it ends."""
    watch = Owners()
    with ExitStack() as stack, watch:
        for name, child in module.named_modules():
            stack.callback(child.register_forward_pre_hook(_beginning(watch, name)).remove)
            stack.callback(child.register_forward_hook(lambda *_: watch.end()).remove)
        yield watch


def _beginning(watch: Owners, name: str) -> Callable[..., None]:
    return lambda module, inputs: watch.begin(name)
