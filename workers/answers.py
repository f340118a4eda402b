"""What a worker's network says to pictures, at its own precision (float32) and nothing folded; imports torch."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.activation_specs import STRONGEST_UNITS, ClassChance, UnitValue
from core.specs import LayerInfo
from db.activations import ActivationLease
from deepvis.activations import Answers, run_normalised
from deepvis.engine import Engine
from deepvis.panels import Chance
from deepvis.pictures import Pixels
from workers.runtime import Runtime

GAMMA = 0.6
"""Contrast of grids: below 1 what is weak beside the layer's strongest can be seen too."""


def engine_of(runtime: Runtime, lease: ActivationLease) -> Engine:
    """The network of a job, loaded.

    Raises:
        BadNetwork, BadCheckpoint: it is not there any more, or another one by now.
    """
    return cast(Engine, runtime.engines.engine(lease.network, lease.weights_hash))


def ask(engine: Engine, pictures: Sequence[Pixels], layers: Sequence[LayerInfo], side: Any) -> Answers:
    """Put pictures (H, W, C) through the network as it came: what is kept as numbers is exact."""
    pixels = torch.from_numpy(np.stack(pictures)).to(engine.device).permute(0, 3, 1, 2)
    return run_normalised(engine.reference, engine.scale.from_picture(pixels / 255), layers, side)


def strongest(maps: Tensor, layer: LayerInfo, labels: Sequence[str]) -> tuple[UnitValue, ...]:
    """The units whose highest activation in maps (units, h, w) is highest, the most excited first."""
    values = maps.flatten(1).amax(1).nan_to_num(nan=-torch.inf)
    top = values.topk(min(STRONGEST_UNITS, len(values)))
    named = labels if layer.labelled else ()
    return tuple(
        UnitValue(
            unit=unit, value=value if np.isfinite(value) else None, label=named[unit] if unit < len(named) else ""
        )
        for value, unit in zip(top.values.tolist(), top.indices.tolist(), strict=True)
    )


def likeliest(probabilities: Tensor, labels: Sequence[str], most: int) -> tuple[ClassChance, ...]:
    """The likeliest of (classes,) probabilities."""
    top = probabilities.nan_to_num().topk(min(most, len(probabilities)))
    return tuple(
        ClassChance(unit=unit, label=labels[unit] if unit < len(labels) else f"class {unit}", probability=value)
        for value, unit in zip(top.values.tolist(), top.indices.tolist(), strict=True)
    )


def for_people(classes: Sequence[ClassChance]) -> list[Chance]:
    """The classes as panels show them."""
    return [Chance(each.label, each.probability) for each in classes]


def numbers(tensor: Tensor) -> NDArray[np.float32]:
    """A tensor's values, in memory of their own order."""
    return np.ascontiguousarray(tensor.float().cpu().numpy())
