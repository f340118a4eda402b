"""What the engine gives for one unit and seed."""

from dataclasses import dataclass
from typing import Literal

from deepvis.pictures import Pixels

State = Literal["ok", "dead", "non_finite"]


@dataclass(frozen=True)
class PreferredPicture:
    """The result for one unit and seed. `seconds` is its share of its batch's time.

    `activation` is that of the picture as stored (8 bits a channel), measured in float32 on the unit's window.
    """

    unit: int
    seed: int
    state: State
    pixels: Pixels | None  # (H, W, C)
    height: int
    width: int
    activation: float | None
    best_step: int | None
    strongest_step: int | None
    seconds: float
