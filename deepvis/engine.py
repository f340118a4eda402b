"""A network made ready on a device, and the preferred pictures of its units in batches."""

import copy
import math
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.specs import FourierMethod, LayerInfo, Recipe
from deepvis.ascent import pixel_ascent, value_and_gradient
from deepvis.backward import KINDS, Kind, backward_views
from deepvis.batch import Batch, Outcome, Scale
from deepvis.crops import Field, measure_fields
from deepvis.fourier import fourier_ascent
from deepvis.graph import rectified_layers
from deepvis.inputs import NO_LABEL, Inputs
from deepvis.layers import capture
from deepvis.listening import listening
from deepvis.memory import half, in_parts, unless_memory_runs_out
from deepvis.networks import Network
from deepvis.objectives import Objective
from deepvis.pictures import Pixels
from deepvis.precision import choose_precision, prepare
from deepvis.preferred import PreferredPicture, State
from deepvis.probe import Probe, ProbeOptions
from deepvis.tallies import Tally

# Pixels that one batch puts through the network: enough to keep a device busy, little enough for a CPU's caches.
_BATCH_PIXELS = {"cpu": 8 * 227 * 227, "cuda": 256 * 227 * 227}
_MOST_IMAGES = {"cpu": 256, "cuda": 2048}


class Engine:
    """One network on one device: makes preferred pictures, says what its units answer to in real ones.

    Args:
        network: from `deepvis.networks.load_network`; it is copied, not changed.
        device: "cpu" or "cuda" (or "cuda:1").
        precision: of the ascent; activations reported are always float32.
        threads: CPU threads of this process; 0 leaves torch's setting alone.
    """

    def __init__(
        self,
        network: Network,
        *,
        device: str = "cpu",
        precision: Literal["auto", "float32", "bfloat16"] = "auto",
        threads: int = 0,
    ) -> None:
        if threads:
            torch.set_num_threads(threads)
        self.network = network
        self.device = torch.device(device)
        self.module, self.precision = prepare(network, self.device, choose_precision(self.device, precision))
        # Pictures are judged by the network as it came: float32, nothing folded. It is only read, so a CPU shares it.
        self.reference = copy.deepcopy(network.module).to(self.device) if self.device.type != "cpu" else network.module
        self._fields: dict[str, Field] = {}
        self._rectified: dict[tuple[str, ...], frozenset[str]] = {}
        self.scale = Scale(
            torch.tensor(network.mean, device=self.device).view(1, -1, 1, 1),
            torch.tensor(network.std, device=self.device).view(1, -1, 1, 1),
        )

    @property
    def device_name(self) -> str:
        """For people: the device's kind and model."""
        if self.device.type == "cuda":
            return f"{self.device} {torch.cuda.get_device_name(self.device)}"
        return f"cpu {platform.machine()} x {torch.get_num_threads()}"

    def batch_size(self, layer: LayerInfo) -> int:
        """Images of this layer's window that fill a batch on this device."""
        pixels = layer.window.height * layer.window.width
        return min(max(_BATCH_PIXELS[self.device.type] // pixels, 1), _MOST_IMAGES[self.device.type])

    def preferred_pictures(
        self,
        layer: LayerInfo,
        recipe: Recipe,
        addresses: Sequence[tuple[int, int]],
        *,
        batch_size: int = 0,
        on_progress: Callable[[float], None] | None = None,
    ) -> Iterator[PreferredPicture]:
        """Preferred pictures of (unit, seed) `addresses`, in their order, yielded as batches finish.

        Args:
            layer: of this engine's network.
            recipe: how they are made.
            addresses: (unit, seed) pairs.
            batch_size: images in a batch; 0 chooses. Halved, for good, when memory runs out.
            on_progress: called at every step with the part of the call that is over; what it raises ends the call.

        Raises:
            BadNetwork: not even one image fits into memory.
        """
        size = batch_size or self.batch_size(layer)
        done = 0
        while done < len(addresses):
            batch = addresses[done : done + size]

            def on_step(step: int, done: int = done, rows: int = len(batch)) -> None:
                if on_progress:
                    on_progress((done + rows * step / recipe.steps) / len(addresses))

            pictures = self._try_batch(layer, recipe, batch, on_step)
            if pictures is None:
                size = half(len(batch), f"layer {layer.name} on {self.device_name}")
                continue
            yield from pictures
            done += len(batch)
        if on_progress:
            on_progress(1.0)

    def grow(
        self, layer: LayerInfo, recipe: Recipe, unit: int, on_picture: Callable[[int, Callable[[], Pixels]], None]
    ) -> PreferredPicture:
        """The preferred picture of one unit, shown as it grows.

        Args:
            layer, recipe: as of `preferred_pictures`.
            unit: of the layer.
            on_picture: called before each step with its number and with what gives the picture (H, W, C) as it is
                then; what it raises ends the ascent.
        """

        def pass_on(step: int, picture: Callable[[], Tensor]) -> None:
            on_picture(step, lambda: _pixels(picture())[0])

        return self._batch(layer, recipe, [(unit, 0)], _ignore, pass_on)[0]

    def seconds_per_image_step(self, layer: LayerInfo) -> float:
        """One image's share of a forward and backward pass to `layer`, in seconds, measured on a quarter of a batch.

        As a batch has about as many pixels for every layer, each is measured in about the same time, and what a step
        costs whatever its size is shared by as many images as it will be.
        """
        rows = max(1, self.batch_size(layer) // 4)
        x = torch.zeros(rows, *self._shape(layer), device=self.device)
        with capture(self.module, layer.read_at) as reader:
            objective = self._objective(reader.run, layer, [0] * rows, Recipe())
            batch = Batch(objective, self.scale, self._shape(layer), [], _ignore)
            if self.device.type == "cuda":  # the first pass compiles and allocates
                value_and_gradient(batch, x)[2].sum().item()
            start = time.perf_counter()
            value_and_gradient(batch, x)[2].sum().item()
            return (time.perf_counter() - start) / rows

    # --- real pictures --------------------------------------------------------------

    def to_input(self, pixels: Pixels) -> Tensor:
        """Pictures (N, H, W, C), 0..255, as the network takes them: (N, C, H, W) float32, on the device."""
        picture = torch.from_numpy(pixels if pixels.flags.writeable else pixels.copy())
        if self.device.type == "cuda":
            picture = picture.pin_memory()
        picture = picture.to(self.device, non_blocking=True).permute(0, 3, 1, 2)  # channels last as it is
        return self.scale.from_picture(picture.float() / 255)

    def probe(
        self,
        layers: Sequence[LayerInfo],
        batches: Iterable[Inputs],
        options: ProbeOptions | None = None,
        on_batch: Callable[[Inputs], None] | None = None,
    ) -> dict[str, Tally]:
        """What the units of `layers` answer to in a range of images, by layer name; in float32, one forward pass.

        Args:
            layers: of this engine's network.
            batches: from `deepvis.inputs.batches`.
            options: how many images are ranked, and more.
            on_batch: called after every batch; what it raises ends the call.

        Raises:
            InvalidRequest: there are no pictures, or no layers.
        """
        probe = self.start_probe(layers, options)
        for inputs in batches:
            probe.see(inputs, self.to_input(inputs.pixels))
            if on_batch:
                on_batch(inputs)
        return probe.tallies()

    def start_probe(self, layers: Sequence[LayerInfo], options: ProbeOptions | None = None) -> Probe:
        """A pass that is fed batch by batch; raises as `probe`."""
        return Probe(self.reference, layers, self.device, options or ProbeOptions())

    def answers(self, layers: Sequence[LayerInfo], pixels: Pixels) -> dict[str, NDArray[np.float32]]:
        """The answers (N, units), as in `deepvis.tallies`, to pictures (N, H, W, C), by layer name; in one batch."""
        heard: dict[str, NDArray[np.float32]] = {}

        def hear(layer: LayerInfo, maps: Tensor) -> None:
            heard[layer.name] = maps.amax(2).float().cpu().numpy()

        with torch.no_grad(), listening(self.reference, layers, hear) as run:
            run(self.to_input(pixels))
        return heard

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the network's input."""
        return self.network.input_shape

    @property
    def fill(self) -> tuple[float, ...]:
        """The mean colour of the input, per channel, 0..1: what stands for nothing."""
        return self.network.mean

    def fields(self, layers: Sequence[LayerInfo]) -> dict[str, Field]:
        """The receptive fields of the layers' units, by layer name; measured once for each."""
        missing = [layer for layer in layers if layer.name not in self._fields]
        if missing:
            self._fields.update(measure_fields(self.network, missing))
        return {layer.name: self._fields[layer.name] for layer in layers}

    def rectified_layers(self, layers: Sequence[LayerInfo]) -> frozenset[str]:
        """Names of the layers that are read by rectifiers only: what is below zero there goes no further.

        Found once.
        """
        names = tuple(layer.name for layer in layers)
        if names not in self._rectified:
            x = torch.zeros(1, *self.network.input_shape, device=self.device)
            self._rectified[names] = rectified_layers(self.reference, layers, x)
        return self._rectified[names]

    def backward(
        self,
        layer: LayerInfo,
        pixels: Pixels,
        addresses: Sequence[tuple[int, int]],
        kinds: Sequence[Kind] = KINDS,
    ) -> dict[Kind, NDArray[np.float32]]:
        """Backward views (N, C, H, W) of the (unit, position) `addresses` on N pictures (N, H, W, C).

        Raises:
            UndefinedView: a kind has no meaning on this network, see `deepvis.backward`.
            UnitOutOfRange: there is no such address.
            BadNetwork: not even one picture fits into memory.
        """

        def views(rows: slice) -> dict[Kind, Tensor]:
            found = backward_views(self.reference, layer, self.to_input(pixels[rows]), addresses[rows], kinds)
            return {kind: view.cpu() for kind, view in found.items()}

        # What is kept for the ways back takes several times what a forward pass does.
        size = max(1, self.probe_batch_size // 4)
        parts = [part for _, part in in_parts(self.device, len(pixels), size, f"layer {layer.name}", views)]
        return {kind: torch.cat([part[kind] for part in parts]).numpy() for kind in kinds}

    @property
    def probe_batch_size(self) -> int:
        """Pictures of the network's input that fill a batch on this device."""
        _, height, width = self.network.input_shape
        return min(max(_BATCH_PIXELS[self.device.type] // (height * width), 1), _MOST_IMAGES[self.device.type])

    def seconds_per_probe_image(self, layers: Sequence[LayerInfo]) -> float:
        """One picture's share of a pass over real pictures, in seconds, decoding left out; measured on two batches."""
        rows, (channels, *sides) = self.probe_batch_size, self.network.input_shape
        pixels = np.random.default_rng(0).integers(0, 256, (rows, *sides, channels), np.uint8)
        none = np.full(rows, NO_LABEL)
        ends: list[float] = []

        def note(inputs: Inputs) -> None:
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            ends.append(time.perf_counter())

        self.probe(layers, [Inputs(pixels, np.arange(rows) + i * rows, none) for i in range(2)], on_batch=note)
        return (ends[1] - ends[0]) / rows  # the first batch warms up

    # --- one batch ---------------------------------------------------------------

    def _try_batch(
        self, layer: LayerInfo, recipe: Recipe, batch: Sequence[tuple[int, int]], on_step: Callable[[int], None]
    ) -> list[PreferredPicture] | None:
        """The batch's pictures, or None when memory ran out; by then its tensors are gone."""
        return unless_memory_runs_out(self.device, lambda: self._batch(layer, recipe, batch, on_step))

    def _batch(
        self,
        layer: LayerInfo,
        recipe: Recipe,
        rows: Sequence[tuple[int, int]],
        on_step: Callable[[int], None],
        on_picture: Callable[[int, Callable[[], Tensor]], None] | None = None,
    ) -> list[PreferredPicture]:
        start = time.perf_counter()
        units = [unit for unit, _ in rows]
        # Recipes share their starts, so that styles differ by their regularisers only.
        addresses = [(layer.name, unit, seed) for unit, seed in rows]
        with capture(self.module, layer.read_at) as reader:
            objective = self._objective(reader.run, layer, units, recipe)
            batch = Batch(objective, self.scale, self._shape(layer), addresses, on_step, on_picture)
            if isinstance(recipe.method, FourierMethod):
                outcome = fourier_ascent(batch, recipe.method)
            else:
                outcome = pixel_ascent(batch, recipe.method)
        pixels = outcome.picture.nan_to_num().round().to(torch.uint8)
        activations = self._activations(layer, recipe, units, pixels)
        finished = _pixels(pixels)
        share = (time.perf_counter() - start) / len(rows)
        return _pictures(rows, finished, activations, outcome, share)

    def _activations(self, layer: LayerInfo, recipe: Recipe, units: list[int], pixels: Tensor) -> list[float]:
        """Float32 activations of the units on their finished pictures (N, C, H, W)."""
        with torch.no_grad(), capture(self.reference, layer.read_at) as reader:
            objective = self._objective(reader.run, layer, units, recipe, torch.float32)
            values: list[float] = objective(self.scale.from_picture(pixels / 255))[0].tolist()
        return values

    def _objective(
        self,
        run: Callable[[Tensor], Tensor],
        layer: LayerInfo,
        units: list[int],
        recipe: Recipe,
        dtype: torch.dtype | None = None,
    ) -> Objective:
        dtype = dtype or getattr(torch, self.precision)

        def forward(z: Tensor) -> Tensor:
            return run(z.to(dtype=dtype, memory_format=torch.channels_last))

        return Objective(forward, layer, layer.window.position, torch.tensor(units, device=self.device), recipe)

    def _shape(self, layer: LayerInfo) -> tuple[int, int, int]:
        return self.network.input_shape[0], layer.window.height, layer.window.width


def _pixels(pictures: Tensor) -> Pixels:
    """(N, H, W, C) from (N, C, H, W) in 0..255."""
    whole = pictures.detach().nan_to_num().round().to(torch.uint8)
    return whole.permute(0, 2, 3, 1).contiguous().cpu().numpy()


def _ignore(step: int) -> None:
    """For passes that nobody watches."""


def _pictures(
    rows: Sequence[tuple[int, int]], pixels: Pixels, activations: list[float], outcome: Outcome, seconds: float
) -> list[PreferredPicture]:
    """One result a row; `pixels` (N, H, W, C)."""
    states = _states(outcome, activations)
    best, strongest = outcome.best_step.tolist(), outcome.strongest_step.tolist()
    height, width = pixels.shape[1:3]
    results = []
    for i, (unit, seed) in enumerate(rows):
        result = PreferredPicture(unit, seed, states[i], None, height, width, None, None, None, seconds)
        if states[i] == "ok":
            first = strongest[i] if strongest[i] >= 0 else None
            result = replace(
                result, pixels=pixels[i], activation=activations[i], best_step=best[i], strongest_step=first
            )
        results.append(result)
    return results


def _states(outcome: Outcome, activations: list[float]) -> list[State]:
    flags = zip(outcome.dead.tolist(), outcome.broken.tolist(), activations, strict=True)
    return ["non_finite" if broken or not math.isfinite(a) else "dead" if dead else "ok" for dead, broken, a in flags]
