"""What an ascent maximises: one unit's activation per image of the batch."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from core.specs import LayerInfo, Recipe
from deepvis.layers import layer_values


@dataclass(frozen=True)
class Objective:
    """Activations of `units` (N,), image n answering for unit n, read from one layer.

    The centre unit of an even map of side H is at H // 2 (4 of 0..7), of an odd one in the middle (3 of 0..6).
    """

    forward: Callable[[Tensor], Tensor]  # normalised input (N, C, H, W) -> the layer's output, no further
    layer: LayerInfo
    position: tuple[int, ...]  # of the centre unit in that output
    units: Tensor  # (N,)
    recipe: Recipe

    @property
    def sign(self) -> int:
        """+1 when the unit is to be excited, -1 when silenced."""
        return 1 if self.recipe.direction == "excite" else -1

    def __call__(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Activations (N,) with their graph, and whether each unit is its layer's strongest (N,), for input `z`."""
        everyone = layer_values(self.forward(z), self.layer, self.position, self.recipe.objective).float()  # (N, units)
        a = everyone.gather(1, self.units[:, None]).squeeze(1)
        with torch.no_grad():
            strongest = a * self.sign >= (everyone * self.sign).amax(1)
        return a, strongest
