"""Unit-steps per second of every recipe over those of a bare forward and input-gradient loop at its best batch size."""

import statistics
from collections.abc import Callable
from functools import partial

import torch

from bench.timing import StepClock, heading, median_seconds
from core.recipes import NAMED_RECIPES
from core.specs import LayerInfo
from deepvis.engine import Engine
from deepvis.layers import capture, describe, layer_values
from deepvis.networks import find_source, load_network

BATCHES = (2, 4, 8, 16)
STEPS = 6
ROUNDS = 7


def run(name: str = "squeezenet1_0@random", device: str = "cpu") -> None:
    """Prints the table for the network's class units, which see the whole input."""
    heading(f"Recipes against a bare loop, {name}")
    network = load_network(find_source(name))
    engine = Engine(network, device=device)
    layer = next(layer for layer in describe(network).layers if layer.labelled)
    rates = {rows: statistics.median(_bare(engine, layer, rows) for _ in range(3)) for rows in BATCHES}
    best = max(rates, key=lambda rows: rates[rows])
    print("bare loop, unit-steps/s by batch: " + ", ".join(f"{rows}: {rate:.1f}" for rows, rate in rates.items()))
    print(f"median of {ROUNDS} rounds, each the recipe right after the bare loop at batch {best}")
    for recipe in (n for n in NAMED_RECIPES if not n.endswith((".silence", ".2015"))):
        _compare(recipe, partial(_bare, engine, layer, best), partial(_ours, engine, layer, recipe))


def _compare(recipe: str, bare: Callable[[], float], ours: Callable[[], float]) -> None:
    """The machine's speed drifts: ratios are taken within a round."""
    rounds = [(bare(), ours()) for _ in range(ROUNDS)]
    ratios = sorted(mine / reference for reference, mine in rounds)
    rate = statistics.median(mine for _, mine in rounds)
    print(
        f"{recipe:10} {rate:8.1f} unit-steps/s  {statistics.median(ratios):5.2f} of bare"
        f" ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    )


def _bare(engine: Engine, layer: LayerInfo, rows: int) -> float:
    """Unit-steps per second of forward and input gradient alone, on the engine's own fast network."""
    z = torch.randn(rows, *engine.network.input_shape, device=engine.device)
    z = z.to(getattr(torch, engine.precision), memory_format=torch.channels_last).requires_grad_()
    with capture(engine.module, layer.read_at) as reader:

        def step() -> None:
            values = layer_values(reader.run(z), layer, layer.window.position)
            torch.autograd.grad(values[:, 0].float().sum(), z)

        return rows / median_seconds(step, STEPS)


def _ours(engine: Engine, layer: LayerInfo, name: str) -> float:
    rows = engine.batch_size(layer)
    recipe = NAMED_RECIPES[name].model_copy(update={"steps": STEPS + 2})
    clock = StepClock()
    addresses = [(i, 0) for i in range(rows)]
    for _ in engine.preferred_pictures(layer, recipe, addresses, batch_size=rows, on_progress=clock.tick):
        break
    return rows / clock.seconds()
