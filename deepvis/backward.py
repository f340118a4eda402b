"""Backward views: what in a picture made a unit answer, by three ways of sending a signal back from it.

At every rectifier y = max(x, 0), with the signal s that arrives from above:

    gradient        s where x > 0
    deconvolution   max(s, 0)                   Zeiler & Fergus 2014, with the forward pass's max-pooling switches
    guided          max(s, 0) where x > 0       Springenberg et al. 2015

Everything else is linear (given the switches), and sends its transpose back. One forward pass serves all three: the
rule is applied on the nodes of its autograd graph, which go away with it. Nothing of the module is touched.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from core.errors import UndefinedView, UnitOutOfRange
from core.specs import BackwardKind, LayerInfo
from deepvis.graph import Owners, Way, operation, owners
from deepvis.listening import unit_maps
from deepvis.reading import capture

Kind = BackwardKind
KINDS: tuple[Kind, ...] = tuple(BackwardKind)


def backward_views(
    module: nn.Module,
    layer: LayerInfo,
    x: Tensor,
    addresses: Sequence[tuple[int, int]],
    kinds: Sequence[Kind] = KINDS,
) -> dict[Kind, Tensor]:
    """The views of one unit at one position of each picture.

    Args:
        module: in evaluation mode; its weights may or may not need gradients.
        layer: where the units are.
        x: (N, C, H, W), normalised.
        addresses: N pairs of a unit and a position, as a flat index into the layer's map of positions; units that
            have no position ignore theirs.
        kinds: which views.

    Returns:
        Each (N, C, H, W): the signal that arrives at the normalised input for a signal of 1 at the unit.

    Raises:
        UndefinedView: deconvolution or guided was asked for, and the network has other nonlinear parts than rectifiers
            and max pooling on the way to this layer.
        UnitOutOfRange: there is no such unit or position.
        UnknownLayer, BadNetwork: see `deepvis.reading.capture`.
    """
    x = x.detach().requires_grad_()
    with torch.enable_grad(), owners(module) as watch, capture(module, layer.read_at) as reader:
        maps = unit_maps(reader.run(x), layer)
    total = _choose(maps, layer, addresses).sum()
    way = Way(total, x)
    if any(kind != BackwardKind.GRADIENT for kind in kinds):
        _check_defined(way, watch)
    rule = _Rule()
    for node in way.rectifiers:
        node.register_hook(rule)
    return {kind: rule.send_back(kind, total, x) for kind in kinds}


class _Rule:
    """What happens at a rectifier on the way back."""

    def __init__(self) -> None:
        self._kind: Kind = BackwardKind.GRADIENT

    def send_back(self, kind: Kind, total: Tensor, x: Tensor) -> Tensor:
        self._kind = kind
        if not total.requires_grad:  # cut off from the picture on the way
            return torch.zeros_like(x)
        (signal,) = torch.autograd.grad(total, x, retain_graph=True, materialize_grads=True)
        return signal.detach()

    def __call__(self, below: tuple[Tensor, ...], above: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        """The signals that leave below, given what autograd would send there and what arrives from above."""
        if self._kind == BackwardKind.GRADIENT:
            return None
        signal = above[0] if self._kind == BackwardKind.DECONVOLUTION else below[0]
        return (signal.clamp(min=0), *below[1:])


def _choose(maps: Tensor, layer: LayerInfo, addresses: Sequence[tuple[int, int]]) -> Tensor:
    """(N,) from the maps (N, U, P)."""
    _, all_units, all_places = maps.shape
    chosen = [(unit, position if all_places > 1 else 0) for unit, position in addresses]
    for unit, place in chosen:
        if not (0 <= unit < all_units and 0 <= place < all_places):
            raise UnitOutOfRange(
                f"There is no unit {layer.name}:{unit} at position {place}.",
                f"The layer has {all_units} units at {all_places} positions.",
            )
    units, places = torch.tensor(chosen, dtype=torch.int64, device=maps.device).reshape(-1, 2).T
    return maps[torch.arange(len(maps), device=maps.device), units, places]


def _check_defined(way: Way, watch: Owners) -> None:
    for node in way.undefined:
        raise UndefinedView(
            f"Deconvolution and guided backpropagation are not defined through the operation {operation(node)} "
            f"of module {watch.of(node, way) or 'the network itself'!r}.",
            "The gradient is: ask for that.",
        )
