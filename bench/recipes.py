"""Unit-steps per second of every recipe over those of a bare forward and input-gradient loop at its best batch size."""

import torch

from bench.timing import StepClock, heading, median_seconds
from core.recipes import NAMED_RECIPES
from deepvis.engine import Engine
from deepvis.layers import capture, describe, layer_values
from deepvis.networks import find_source, load_network

BATCHES = (4, 8, 16, 32)
STEPS = 8


def run(name: str = "squeezenet1_0@random", device: str = "cpu") -> None:
    """Prints the table for the network's class units, which see the whole input."""
    heading(f"Recipes against a bare loop, {name}")
    network = load_network(find_source(name))
    engine = Engine(network, device=device)
    layer = next(layer for layer in describe(network).layers if layer.labelled)
    dtype = getattr(torch, engine.precision)

    def bare(rows: int) -> float:
        z = torch.randn(rows, *network.input_shape, device=device).to(dtype, memory_format=torch.channels_last)
        z.requires_grad_()
        with capture(engine.module, layer.read_at) as reader:

            def step() -> None:
                values = layer_values(reader.run(z), layer, layer.window.position)
                torch.autograd.grad(values[:, 0].float().sum(), z)

            return rows / median_seconds(step, STEPS)

    def ours(recipe_name: str, rows: int) -> float:
        recipe = NAMED_RECIPES[recipe_name].model_copy(update={"steps": STEPS + 1})
        clock = StepClock()
        for _ in engine.preferred_pictures(
            layer, recipe, [(i, 0) for i in range(rows)], batch_size=rows, on_progress=clock.tick
        ):
            break
        return rows / clock.seconds()

    rates = {rows: bare(rows) for rows in BATCHES}
    best = max(rates, key=lambda rows: rates[rows])
    print("bare loop, unit-steps/s by batch: " + ", ".join(f"{rows}: {rate:.1f}" for rows, rate in rates.items()))
    for recipe_name in (n for n in NAMED_RECIPES if not n.endswith((".silence", ".2015"))):
        reference = bare(best)  # again, beside each recipe: the machine's speed drifts
        rate = ours(recipe_name, engine.batch_size(layer))
        print(f"{recipe_name:10} {rate:8.1f} unit-steps/s  {rate / reference:5.2f} of bare at batch {best}")
