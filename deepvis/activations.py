"""What a network says to pictures: chosen layers' outputs of one forward pass, class probabilities, tiles to look at.

seen = as_input(image, network.input_shape)
answers = run(engine, [seen], layers)
picture = tile_grid(shade(answers.maps["features.0"][0]))
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from core.errors import BadNetwork, BadPicture, UnknownLayer, nearest
from core.specs import LayerInfo
from deepvis.engine import Engine
from deepvis.pictures import Pixels
from deepvis.reading import batch_first, first_tensor

Side = Literal["after", "before"]
"""Of the non-linearity that takes a layer's very output; where none does, both are that output."""

# Element-wise functions that a network applies to activations, in torch's own names; "_" at the end: in place.
_SHAPES = """relu relu_ relu6 leaky_relu leaky_relu_ elu elu_ selu selu_ celu celu_ gelu silu mish prelu rrelu rrelu_
softplus softsign tanh tanh_ sigmoid sigmoid_ hardtanh hardtanh_ hardswish hardsigmoid logsigmoid threshold"""
_NON_LINEAR = frozenset(_SHAPES.split())
_GAP_PIXELS = 1


@dataclass(frozen=True)
class Answers:
    """To N pictures."""

    maps: Mapping[str, Tensor]  # by layer name: (N, units, h, w) float32; (N, units, 1, 1) where there is no map
    probabilities: Tensor  # (N, classes) float32


# --- pictures in -------------------------------------------------------------------


def as_input(image: Image.Image, input_shape: tuple[int, int, int]) -> Pixels:
    """The picture as the network sees it: (H, W, C), its middle in the input's proportions, scaled to its size.

    Raises:
        BadPicture: the network takes neither grey nor colour pictures.
    """
    channels, height, width = input_shape
    if channels not in (1, 3):
        raise BadPicture(
            f"The network takes {channels} channels.", "Only grey (1) and colour (3) pictures can be sent."
        )
    image = image.convert("L" if channels == 1 else "RGB")
    if image.size != (width, height):
        image = ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
    return np.array(image).reshape(height, width, channels)


# --- the pass ----------------------------------------------------------------------


def run(engine: Engine, pictures: Sequence[Pixels], layers: Sequence[LayerInfo], side: Side = "after") -> Answers:
    """Put pictures through the engine's network once, together, and keep what the layers say.

    Args:
        engine: in whose precision and on whose device the network runs.
        pictures: N of them, (H, W, C) each, from `as_input`.
        layers: any of the network's, in any order; none: class probabilities only.
        side: of the non-linearity that directly follows a layer.

    Raises:
        UnknownLayer: the network has no such module.
        BadNetwork: a layer is not reached by this input.
    """
    return run_normalised(engine.module, normalised(engine, pictures), layers, side)


def normalised(engine: Engine, pictures: Sequence[Pixels]) -> Tensor:
    """(N, C, H, W), normalised, in the engine's precision, from pictures (H, W, C) of `as_input`."""
    pixels = torch.from_numpy(np.stack(pictures)).to(engine.device).permute(0, 3, 1, 2)
    return engine.scale.from_picture(pixels / 255).to(getattr(torch, engine.precision))


def run_normalised(module: nn.Module, x: Tensor, layers: Sequence[LayerInfo], side: Side = "after") -> Answers:
    """As `run`, of x (N, C, H, W), normalised, in the module's precision; the module in evaluation mode."""
    watch = _Watch(len(x), side)
    with torch.no_grad(), _hooked(module, layers, watch), watch:
        output = module(x.contiguous(memory_format=torch.channels_last))
    for layer in layers:
        if layer.name not in watch.kept:
            raise BadNetwork(f"Layer {layer.name!r} is not reached by an input of shape {tuple(x.shape)}.")
    maps = {layer.name: unit_maps(watch.kept[layer.name], layer) for layer in layers}
    return Answers(maps, probabilities(first_tensor(output)))


def unit_maps(output: Tensor, layer: LayerInfo) -> Tensor:
    """(N, units, h, w) float32 from a layer's output (N, ...).

    Tokens in a row are laid out as the square grid they come from, without a class token before them; other positions
    that are no map of two axes stand in one row.
    """
    maps = output.movedim(layer.unit_axis % (output.ndim - 1) + 1, 1).float()  # (N, units, ...)
    if maps.ndim == 4:
        return maps
    rows = maps.flatten(2) if maps.ndim > 2 else maps[..., None]  # (N, units, positions)
    for class_tokens in (0, 1):
        side = math.isqrt(max(rows.shape[2] - class_tokens, 0))
        if side and side * side == rows.shape[2] - class_tokens:
            return rows[..., class_tokens:].reshape(*rows.shape[:2], side, side)
    return rows[:, :, None]


def probabilities(output: Tensor) -> Tensor:
    """(N, classes) from a network's output (N, classes, ...): its softmax, unless it is one already.

    Of maps of scores the mean over all positions is taken, as a class unit's activation is.
    """
    scores = output.float()
    scores = scores.flatten(2).mean(2) if scores.ndim > 2 else scores
    is_softmax = bool((scores >= 0).all()) and bool(((scores.sum(1) - 1).abs() < 1e-2).all())
    return scores if is_softmax else scores.softmax(1)


class _Watch(TorchFunctionMode):
    """Keeps layers' outputs, each before or after the non-linearity that takes it."""

    def __init__(self, batch: int, side: Side) -> None:
        super().__init__()
        self.kept: dict[str, Tensor] = {}  # by layer name
        self._batch = batch
        self._side = side
        # Layers' outputs by identity, held so that it stays theirs; a convolution may share its with its normalisation.
        self._made: dict[int, list[tuple[str, Tensor]]] = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if args and getattr(func, "__name__", "") in _NON_LINEAR:
            for name, _ in self._made.pop(id(args[0]), ()):
                self._keep(name, result)
        return result

    def see(self, name: str, output: Any) -> None:
        """Called with the output of a layer's module; its first call counts."""
        if name not in self.kept:
            value = first_tensor(output)
            self._keep(name, value)
            if self._side == "after":
                self._made.setdefault(id(value), []).append((name, value))

    def _keep(self, name: str, value: Tensor) -> None:
        self.kept[name] = batch_first(value, self._batch).clone()  # a copy: what comes next may write into it


@contextmanager
def _hooked(module: nn.Module, layers: Sequence[LayerInfo], watch: _Watch) -> Iterator[None]:
    modules = dict(module.named_modules())
    with ExitStack() as stack:
        for layer in layers:
            if layer.read_at not in modules:
                raise UnknownLayer(f"There is no module named {layer.read_at!r}.", nearest(layer.read_at, modules))
            stack.callback(modules[layer.read_at].register_forward_hook(_seer(watch, layer.name)).remove)
        yield


def _seer(watch: _Watch, name: str) -> Any:
    return lambda module, inputs, output: watch.see(name, output)


# --- tiles to look at ------------------------------------------------------------------


def shade(maps: Tensor, *, gamma: float = 1.0, per_channel: float = 0.0) -> Tensor:
    """Activations (units, h, w) as shades in -1..1 of the same shape; 0 stays 0.

    Args:
        gamma: the contrast; a shade is its part of the maximum to the power of `gamma`, so that less than 1 shows the
            weak.
        per_channel: 0 measures every unit by the layer's maximum, 1 by its own, between them in between (a power of
            the ratio), as in the Deep Visualization Toolbox.
    """
    own = maps.abs().amax((1, 2), keepdim=True)
    limit = own.max() * (own / own.max().clamp(min=1e-30)) ** per_channel
    parts = (maps / limit.clamp(min=1e-30)).nan_to_num().clamp(-1, 1)
    return parts if gamma == 1 else parts.sign() * parts.abs() ** gamma


def grid_columns(tiles: int) -> int:
    """Tiles in a row of a grid that is as square as can be."""
    return max(1, math.ceil(math.sqrt(tiles)))


def shrink(maps: Tensor, side: int) -> Tensor:
    """(units, h, w), averaged over whole squares of positions so that a grid of them is `side` pixels long, or little
    (at most half) more."""
    columns = grid_columns(len(maps))
    factor = round(max(maps.shape[1:]) / max(side // columns - _GAP_PIXELS, 1))
    return functional.avg_pool2d(maps, min(factor, *maps.shape[1:]), ceil_mode=True) if factor > 1 else maps


def tile_grid(shades: Tensor, *, side: int = 0) -> Pixels:
    """Shades (units, h, w) in -1..1 as one picture of tiles in row-major order, a pixel's gap after each.

    Args:
        side: pixels of the picture's longer side, see `shrink`; 0: no limit.

    Returns:
        (H, W, 1), black to white, where nothing is negative; else (H, W, 3): negative shades are blue, positive ones
        amber. Its tile i is at row i // grid_columns, column i % grid_columns.
    """
    units, columns = len(shades), grid_columns(len(shades))
    shades = shrink(shades, side) if side else shades
    height, width = shades.shape[1:]
    rows = math.ceil(units / columns)
    padded = functional.pad(shades, (0, _GAP_PIXELS, 0, _GAP_PIXELS, 0, rows * columns - units))
    laid = padded.reshape(rows, columns, *padded.shape[1:]).transpose(1, 2)  # (rows, h, columns, w)
    return paint(laid.reshape(rows * (height + _GAP_PIXELS), columns * (width + _GAP_PIXELS)))


def paint(shades: Tensor) -> Pixels:
    """(H, W) in -1..1 as pixels: (H, W, 1) grey where nothing is negative, else (H, W, 3) in blue and amber."""
    if not bool((shades < 0).any()):
        return _bytes(shades[..., None])
    above, below = shades.clamp(min=0), (-shades).clamp(min=0)
    return _bytes(torch.stack([above + 0.1 * below, 0.75 * above + 0.45 * below, 0.25 * above + below], 2))


def _bytes(values: Tensor) -> Pixels:
    return (255 * values).round().to(torch.uint8).cpu().numpy()
