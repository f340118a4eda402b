"""Images per second of the library against a plain loop over units, per layer and for whole networks.

The plain loop is what peers do: one unit and one image at a time, the full forward pass in float32, gradients for
the weights as well, a step along the gradient. Both take the same number of steps on the same kind of picture;
what is timed is a step, and a network's images per second follow from its layers' and their numbers of units.
"""

from dataclasses import dataclass

import torch
from torch import nn

from bench.timing import StepClock, heading, median_seconds
from core.recipes import SOFT
from core.specs import LayerInfo
from deepvis.engine import Engine
from deepvis.layers import describe, layer_values
from deepvis.networks import Network, find_source, load_network

NETWORKS = ("alexnet@random", "squeezenet1_0@random", "resnet50@random")
STEPS = 4


@dataclass(frozen=True)
class Row:
    layer: LayerInfo
    ours: float  # seconds of one image's step
    plain: float

    @property
    def ratio(self) -> float:
        return self.plain / self.ours


def run(names: tuple[str, ...] = NETWORKS, device: str = "cpu") -> None:
    """Prints the tables."""
    heading("Library against a plain one-unit-at-a-time loop")
    for name in names:
        network = load_network(find_source(name))
        layers = [layer for layer in describe(network).layers if layer.default]
        engine = Engine(network, device=device)
        rows = [Row(layer, _ours(engine, layer), _plain(network, layer, device)) for layer in layers]
        _print(name, engine, rows)


def _print(name: str, engine: Engine, rows: list[Row]) -> None:
    print(f"\n{name} ({engine.precision}, {engine.device_name})")
    print(f"{'layer':34} {'units':>5} {'window':>9} {'batch':>5} {'ours img/s':>11} {'plain img/s':>11} {'ratio':>8}")
    for row in rows:
        window = f"{row.layer.window.height}x{row.layer.window.width}"
        ours, plain = (1 / (seconds * SOFT.steps) for seconds in (row.ours, row.plain))
        print(
            f"{row.layer.name:34} {row.layer.units:5} {window:>9} {engine.batch_size(row.layer):5}"
            f" {ours:11.3f} {plain:11.4f} {row.ratio:7.1f}x"
        )
    units = sum(row.layer.units for row in rows)
    ours, plain = (
        units / (SOFT.steps * sum(getattr(row, side) * row.layer.units for row in rows)) for side in ("ours", "plain")
    )
    print(f"{'whole network':34} {units:5} {'':9} {'':5} {ours:11.3f} {plain:11.4f} {ours / plain:7.1f}x")


def _ours(engine: Engine, layer: LayerInfo) -> float:
    """Seconds of one image's step in a full batch."""
    rows = engine.batch_size(layer)
    clock = StepClock()
    addresses = [(i % layer.units, i // layer.units) for i in range(rows)]
    recipe = SOFT.model_copy(update={"steps": STEPS})
    for _ in engine.preferred_pictures(layer, recipe, addresses, batch_size=rows, on_progress=clock.tick):
        break
    return clock.seconds() / rows


def _plain(network: Network, layer: LayerInfo, device: str) -> float:
    """Seconds of one step on one image."""
    module: nn.Module = network.module.to(device).requires_grad_(True)
    x = torch.randn(1, *network.input_shape, device=device, requires_grad=True)
    position = tuple(side // 2 for side in layer.output_shape[1:]) if layer.window.position else ()
    kept: list[torch.Tensor] = []
    hook = module.get_submodule(layer.read_at).register_forward_hook(lambda m, i, o: kept.append(o * 1))

    def step() -> None:
        kept.clear()
        module.zero_grad()
        module(x)
        layer_values(kept[0], layer, position)[0, 0].backward()  # type: ignore[no-untyped-call]  # torch's own
        with torch.no_grad():
            x.add_(x.grad if x.grad is not None else 0)
            x.grad = None

    seconds = median_seconds(step, STEPS)
    hook.remove()
    network.module.requires_grad_(False)
    return seconds
