"""What goes into an ascent and what comes out of it: many units' images, one row each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from deepvis.objectives import Objective

Address = tuple[str | int, ...]
"""What seeds a row's random numbers: the unit and its seed, nothing of the batch around it."""


@dataclass(frozen=True)
class Scale:
    """Between pixel units, pictures and the network's normalised input; (1, C, 1, 1) tensors on the 0..1 scale."""

    mean: Tensor
    std: Tensor

    @property
    def mean_pixel(self) -> Tensor:
        """(1, C, 1, 1) on the 0..255 scale."""
        return 255 * self.mean

    def from_pixel_units(self, x: Tensor) -> Tensor:
        """Mean-subtracted pixel units (0..255) to normalised: z = x / (255 std)."""
        return x / (255 * self.std)

    def from_picture(self, picture: Tensor) -> Tensor:
        """Pictures in [0, 1] to normalised."""
        return torch.addcmul(-self.mean / self.std, picture, 1 / self.std)


@dataclass(frozen=True)
class Batch:
    """The N images that go through the network together."""

    objective: Objective
    scale: Scale
    shape: tuple[int, int, int]  # (C, H, W) of one image: the units' window
    addresses: Sequence[Address]  # N of them
    on_step: Callable[[int], None]  # called before each step with its number; what it raises ends the ascent
    # Called before each step with its number, and with what gives the pictures (N, C, H, W) in 0..255 as they are then.
    on_picture: Callable[[int, Callable[[], Tensor]], None] | None = None

    @property
    def device(self) -> torch.device:
        return self.objective.units.device


@dataclass(frozen=True)
class Outcome:
    """Of a batch; N rows each."""

    picture: Tensor  # (N, C, H, W) in 0..255
    best_step: Tensor  # at which the picture was seen
    strongest_step: Tensor  # first step at which the unit was its layer's strongest; -1: never
    dead: Tensor  # the gradient was exactly zero from every start
    broken: Tensor  # the activation or its gradient became infinite or not a number


@dataclass
class Tracker:
    """What is remembered of a running batch."""

    best_score: Tensor  # (N,) the best activation seen, times the direction's sign
    best_step: Tensor
    strongest_step: Tensor
    broken: Tensor

    @classmethod
    def start(cls, rows: int, device: torch.device) -> "Tracker":
        """Of a batch of `rows` images that has not been looked at yet."""
        never = torch.full((rows,), -1, device=device)
        lowest = torch.full((rows,), -torch.inf, device=device)
        return cls(lowest, never, never, torch.zeros(rows, dtype=torch.bool, device=device))

    def see(self, step: int, score: Tensor, strongest: Tensor, g: Tensor) -> Tensor:
        """Note one step; returns the rows (N,) whose image is the best so far. Broken rows never are."""
        self.broken = self.broken | ~torch.isfinite(score) | ~torch.isfinite(g.flatten(1).sum(1))
        self.strongest_step = torch.where((self.strongest_step < 0) & strongest, step, self.strongest_step)
        better = (score > self.best_score) & ~self.broken
        self.best_score = torch.where(better, score, self.best_score)
        self.best_step = torch.where(better, step, self.best_step)
        return better

    def outcome(self, picture: Tensor, best_step: Tensor, dead: Tensor) -> Outcome:
        """The end of the ascent."""
        return Outcome(picture, best_step, self.strongest_step, dead & ~self.broken, self.broken)
