"""Where a unit's activation to a frame comes from: its backward view, and what reaches a layer below it."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from core.errors import InvalidRequest
from core.specs import BackwardKind, LayerInfo
from deepvis.activations import unit_maps
from deepvis.backward import backward_views
from deepvis.engine import Engine
from deepvis.listening import unit_maps as positions_of
from deepvis.pictures import Pixels
from deepvis.reading import capture, first_tensor
from deepvis.views import Filter, render_view


@dataclass(frozen=True)
class Origin:
    """One unit and one picture: where the way back starts."""

    engine: Engine
    x: Tensor  # (1, C, H, W), normalised, in the engine's precision
    layer: LayerInfo
    unit: int
    position: int  # flat index among the layer's positions

    def view(self, kind: BackwardKind, how: Filter) -> Pixels:
        """The unit's backward view.

        Raises:
            UndefinedView: the network has parts that this kind of view is not defined through.
        """
        at = [(self.unit, self.position)]
        signal = backward_views(self.engine.module, self.layer, self.x, at, [kind])[kind]
        return picture_of(signal[0], how)

    def signals_at(self, shown: LayerInfo) -> Tensor:
        """(units, h, w) of the layer `shown`: the unit's gradient with respect to each of its activations.

        Raises:
            InvalidRequest: the unit's layer is not computed from `shown`.
        """
        return self.gradients(shown)[1]

    def gradients(self, shown: LayerInfo) -> tuple[Tensor, Tensor]:
        """The unit's gradients of one pass: at the picture (C, H, W), and as `signals_at`, which raises alike."""
        kept: list[Tensor] = []
        x = self.x.detach().requires_grad_()
        place = self.engine.module.get_submodule(shown.read_at)
        hook = place.register_forward_hook(lambda module, inputs, output: kept.append(first_tensor(output)))
        try:
            with torch.enable_grad(), capture(self.engine.module, self.layer.read_at) as reader:
                maps = positions_of(reader.run(x), self.layer)  # (1, units, positions)
        finally:
            hook.remove()
        one = maps[0, self.unit, min(self.position, maps.shape[2] - 1)]
        at_x, at_shown = torch.autograd.grad(one, [x, *kept[:1]], allow_unused=True) if kept else (None, None)
        if at_x is None or at_shown is None:
            raise InvalidRequest(f"Nothing comes back from {self.layer.name} to {shown.name}.", "Show one before it.")
        return at_x[0], unit_maps(at_shown, shown)[0]


def picture_of(signal: Tensor, how: Filter) -> Pixels:
    """A backward view (C, H, W) as pixels."""
    return render_view(signal.float().cpu().numpy(), how)


def origin_at_peak(engine: Engine, x: Tensor, layer: LayerInfo, unit: int, maps: Tensor) -> Origin:
    """The unit where it is most active in `maps` (units, h, w), what the layer says to the picture `x`."""
    positions = math.prod(layer.output_shape) // layer.units
    before = max(0, positions - maps[unit].numel())  # a class token, which stands before the map
    return Origin(engine, x, layer, unit, int(maps[unit].argmax()) + before)
