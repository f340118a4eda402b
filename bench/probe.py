"""A pass over real pictures against the bare forward passes, and its memory over sets of different length.

Bare and pass run the same network (float32, channels last) on the same batches; with decoding, both take them from the
same loader. What is timed is a round of one after the other, since the machine's speed drifts.
"""

import io
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice

import numpy as np
import torch
from PIL import Image

from bench.timing import heading
from core.specs import LayerInfo
from deepvis.engine import Engine
from deepvis.inputs import Inputs, PictureFile, batches
from deepvis.layers import describe
from deepvis.networks import find_source, load_network

ROUNDS = 7
IMAGES = 64  # of a round
WHOLE_SET = 1_300_000
MEMORY_IMAGES = (200, 20_000)


def run(name: str = "squeezenet1_0@random", memory_name: str = "demo", device: str = "cpu") -> None:
    """Prints images per second, what they make for 1.3 million images, and peak memory."""
    heading(f"A pass over real pictures, {name}")
    network = load_network(find_source(name))
    engine = Engine(network, device=device)
    layers = [layer for layer in describe(network).layers if layer.default]
    print(f"{len(layers)} layers, {sum(layer.units for layer in layers)} units; batches of {engine.probe_batch_size}")
    _compare(engine, layers, "without decoding", list(_loaded(engine)))
    _compare(engine, layers, "with decoding", None)
    for images in MEMORY_IMAGES:
        print(f"{memory_name}, {images:6,} images: peak memory {_peak_memory(memory_name, images):.0f} MiB")


@dataclass(frozen=True)
class Round:
    """Of bare forward passes and of a pass: seconds by the clock, and of processor time, which other programs disturb
    less."""

    bare: tuple[float, float]
    ours: tuple[float, float]


def _compare(engine: Engine, layers: Sequence[LayerInfo], what: str, decoded: list[Inputs] | None) -> None:
    """A first round warms up and is not counted: there, everything enters the rankings."""
    rounds = []
    everything = _Endless(engine, layers)
    for _ in range(ROUNDS + 1):
        bare = _timed(engine, partial(_forward, engine, decoded or _loaded(engine)))
        rounds.append(Round(bare, _timed(engine, partial(everything.see, decoded or _loaded(engine)))))
    del rounds[0]
    bare, ours = (
        IMAGES / statistics.median(seconds) for seconds in zip(*((r.bare[0], r.ours[0]) for r in rounds), strict=True)
    )
    print(
        f"{what:17} bare {bare:5.1f} images/s, pass {ours:5.1f}; 1.3 million images in {WHOLE_SET / ours / 3600:.1f} h"
    )
    for clock, name in enumerate(("time by the clock", "processor time")):
        ratios = sorted(r.ours[clock] / r.bare[clock] for r in rounds)
        print(f"    {name}: {statistics.median(ratios):.2f} of bare ({ratios[0]:.2f} to {ratios[-1]:.2f})")


class _Endless:
    """One pass that goes on from round to round, so that its rankings fill up as they do on a large set."""

    def __init__(self, engine: Engine, layers: Sequence[LayerInfo]) -> None:
        self._engine = engine
        self._first = 0
        self._pass = engine.start_probe(layers)

    def see(self, inputs: Iterable[Inputs]) -> None:
        for batch in inputs:
            moved = Inputs(batch.pixels, batch.numbers + self._first, batch.labels)
            self._pass.see(moved, self._engine.to_input(moved.pixels))
        self._first += IMAGES


def _forward(engine: Engine, inputs: Iterable[Inputs]) -> None:
    with torch.no_grad():
        for batch in inputs:
            engine.reference(engine.to_input(batch.pixels))


def _timed(engine: Engine, run: Callable[[], None]) -> tuple[float, float]:
    start, start_work = time.perf_counter(), time.process_time()
    run()
    _wait(engine)
    return time.perf_counter() - start, time.process_time() - start_work


def _wait(engine: Engine) -> None:
    if engine.device.type == "cuda":
        torch.cuda.synchronize(engine.device)


def _loaded(engine: Engine, images: int = 0) -> Iterator[Inputs]:
    return batches(_files(images or IMAGES), engine.probe_batch_size, engine.network.input_shape)


def _files(images: int) -> Iterator[PictureFile]:
    """JPEGs of the size that photographs of such sets have, 500 x 375, a few of them again and again."""
    content = islice(cycle([_jpeg(seed) for seed in range(16)]), images)
    return (PictureFile(i, i * 100 // images, lambda data=data: data) for i, data in enumerate(content))  # type: ignore[misc]  # mypy#12557


def _jpeg(seed: int) -> bytes:
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (24, 32, 3), np.uint8)).resize(
        (500, 375), Image.Resampling.BICUBIC
    )
    noise = random.normal(0, 12, (375, 500, 3))
    buffer = io.BytesIO()
    Image.fromarray((np.asarray(coarse) + noise).clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def _peak_memory(name: str, images: int) -> float:
    """MiB of a fresh process that probes so many images."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_probe_alone, (name, images))


def _probe_alone(name: str, images: int) -> float:
    torch.set_num_threads(2)
    network = load_network(find_source(name))
    engine = Engine(network)
    layers = [layer for layer in describe(network).layers if layer.default]
    engine.probe(layers, _loaded(engine, images))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
