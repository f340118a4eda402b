"""Ascent on Fourier coefficients with decorrelated colour and random views (Olah et al. 2017, "Feature Visualization").

A canvas a little larger than the unit's window is held as coefficients of a real Fourier transform, each scaled by
one over its frequency, its channels mapped to colours that vary together as in natural images; every step looks at
it through one random affine view and takes one step of Adam (Kingma and Ba 2015).
"""

import math
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from core.specs import FourierMethod
from deepvis.batch import Batch, Outcome, Tracker
from deepvis.starts import generator, lively_start

CANVAS_MARGIN = 240 / 227
"""Side of the canvas over that of the view, so that shifted views still find picture."""

# Square root of natural images' colour covariance, scaled so that its longest column has length 1.
_COLOUR = torch.tensor([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]])
COLOUR_FROM_DECORRELATED = _COLOUR / _COLOUR.norm(dim=0).max()

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8


@dataclass
class Adam:
    """Adam's state (Kingma and Ba 2015), climbing; every entry by itself, so every row too."""

    rate: float
    momentum: Tensor
    energy: Tensor
    steps: int = 0

    @classmethod
    def start(cls, p: Tensor, rate: float) -> "Adam":
        return cls(rate, torch.zeros_like(p), torch.zeros_like(p))

    def climb(self, p: Tensor, g: Tensor) -> Tensor:
        """`p` after one step uphill along `g`."""
        self.steps += 1
        self.momentum.lerp_(g, 1 - _BETA1)
        self.energy.mul_(_BETA2).addcmul_(g, g, value=1 - _BETA2)
        spread = (self.energy / (1 - _BETA2**self.steps)).sqrt_().add_(_EPSILON)
        return torch.addcdiv(p, self.momentum, spread, value=self.rate / (1 - _BETA1**self.steps))


@dataclass(frozen=True)
class Canvas:
    """From coefficients (N, C, H, W // 2 + 1, 2) to pictures in [0, 1] of shape (N, C, H, W)."""

    height: int
    width: int
    channels: int
    amplitudes: Tensor  # (H, W // 2 + 1), one over frequency
    colour: Tensor  # (3, 3), from decorrelated channels

    @classmethod
    def around(cls, shape: tuple[int, int, int], method: FourierMethod, device: torch.device) -> "Canvas":
        """The canvas for views of `shape` (C, H, W)."""
        channels, height, width = shape[0], *(_fast_length(math.ceil(side * CANVAS_MARGIN)) for side in shape[1:])
        frequencies = torch.hypot(torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)[None])
        amplitudes = frequencies.clamp(min=1 / max(height, width)) ** -method.spectrum_power
        amplitudes *= method.spectrum_scale / amplitudes.mean()
        return cls(height, width, channels, amplitudes.to(device), COLOUR_FROM_DECORRELATED.to(device))

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of one picture's coefficients."""
        return self.channels, self.height, self.width // 2 + 1, 2

    def paint(self, coefficients: Tensor) -> Tensor:
        """Pictures (N, C, H, W) in [0, 1]."""
        spectrum = torch.view_as_complex(coefficients) * self.amplitudes
        x: Tensor = torch.fft.irfft2(spectrum, s=(self.height, self.width), norm="ortho")
        if self.channels == 3:
            x = (self.colour @ x.flatten(2)).view_as(x)
        return torch.sigmoid(x)

    def centre(self, x: Tensor, shape: tuple[int, int, int]) -> Tensor:
        """The part (N, C, h, w) of pictures that the unmoved view shows."""
        top, left = (self.height - shape[1]) // 2, (self.width - shape[2]) // 2
        return x[..., top : top + shape[1], left : left + shape[2]]

    def views(self, x: Tensor, shape: tuple[int, int, int], moves: Tensor) -> Tensor:
        """Affine views (N, C, h, w) of pictures, edges reflected; `moves` (N, 4): right and down (parts of the view's
        sides), angle (radians), factor."""
        right, down, angle, factor = moves.unbind(1)
        h, w = shape[1:]
        cos, sin = factor * angle.cos(), factor * angle.sin()
        # In half-sides of the canvas per half-side of the view.
        rows = [
            torch.stack([cos * w / self.width, -sin * h / self.width, 2 * right * w / self.width], 1),
            torch.stack([sin * w / self.height, cos * h / self.height, 2 * down * h / self.height], 1),
        ]
        grid = functional.affine_grid(torch.stack(rows, 1), [len(x), *shape], align_corners=False)
        seen: Tensor = functional.grid_sample(x, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
        return seen


def fourier_ascent(batch: Batch, method: FourierMethod) -> Outcome:
    """As `deepvis.ascent.pixel_ascent`; the picture kept is the last one, its unmoved view."""
    steps = batch.objective.recipe.steps
    canvas = Canvas.around(batch.shape, method, batch.device)
    rngs = [generator(*address) for address in batch.addresses]
    moves = torch.stack([_draw_moves(method, steps, rng) for rng in rngs], 1).to(batch.device)  # (steps, N, 4)

    def draw(row: int, attempt: int) -> Tensor:
        deviation = method.start_deviation * 10.0**attempt
        return (torch.randn(canvas.shape, generator=rngs[row]) * deviation).to(batch.device)

    p, dead = lively_start(len(rngs), draw, lambda p: _value_and_gradient(batch, canvas, p, moves[0])[2])
    adam = Adam.start(p, method.learning_rate)
    seen = Tracker.start(len(p), batch.device)
    for step in range(steps):
        batch.on_step(step)
        if batch.on_picture:
            batch.on_picture(step, partial(_picture, canvas, p, batch.shape))
        a, strongest, g = _value_and_gradient(batch, canvas, p, moves[step])
        seen.see(step, a * batch.objective.sign, strongest, g)
        p = adam.climb(p, g.masked_fill_(seen.broken.view(-1, 1, 1, 1, 1), 0))
    picture = _picture(canvas, p, batch.shape)
    # Views differ too much for their activations to be compared: the last canvas is the result.
    return seen.outcome(picture, torch.full_like(seen.best_step, steps - 1), dead)


def _picture(canvas: Canvas, p: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """The unmoved view of coefficients, in 0..255."""
    return 255 * canvas.centre(canvas.paint(p), shape)


def _value_and_gradient(batch: Batch, canvas: Canvas, p: Tensor, moves: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Activations (N,) of one view each, whether each is its layer's strongest (N,), gradient of coefficients."""
    with torch.enable_grad():
        p = p.detach().requires_grad_()
        view = canvas.views(canvas.paint(p), batch.shape, moves)
        a, strongest = batch.objective(batch.scale.from_picture(view))
        (g,) = torch.autograd.grad(a.sum() * batch.objective.sign, p)
    return a.detach(), strongest, g


def _fast_length(length: int) -> int:
    """The next length whose transform is fast: no prime factor above 5 (237 takes four times as long as 240)."""
    rest = length
    for factor in (2, 3, 5):
        while rest % factor == 0:
            rest //= factor
    return length if rest == 1 else _fast_length(length + 1)


def _draw_moves(method: FourierMethod, steps: int, rng: torch.Generator) -> Tensor:
    """Random views (steps, 4) of one picture: right, down, angle in radians, factor."""
    spread = torch.tensor([method.shift, method.shift, math.radians(method.rotation_degrees), method.scale])
    return (2 * torch.rand(steps, 4, generator=rng) - 1) * spread + torch.tensor([0.0, 0.0, 0.0, 1.0])
