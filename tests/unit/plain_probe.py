"""The slow, obvious twin of the probe: one image at a time, whole outputs kept, plain numpy."""

from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np
import torch
from numpy.typing import NDArray

from core.specs import LayerInfo
from deepvis.networks import Network


class PlainAnswers:
    """Answers (N, U) and positions (N, U) of one layer's units to N pictures."""

    def __init__(self) -> None:
        self._rows: list[tuple[NDArray[np.float32], NDArray[np.int64]]] = []

    def look(self, output: NDArray[np.float32], layer: LayerInfo) -> None:
        """Note what the layer put out for the next picture."""
        units = np.moveaxis(output.reshape(layer.output_shape), layer.unit_axis, 0).reshape(layer.units, -1)
        if layer.window.position:
            self._rows.append((units.max(1), units.argmax(1)))
        else:
            self._rows.append((units.mean(1), np.full(layer.units, -1)))

    @property
    def answers(self) -> NDArray[np.float32]:
        return np.stack([answers for answers, _ in self._rows])

    @property
    def positions(self) -> NDArray[np.int64]:
        return np.stack([positions for _, positions in self._rows])

    def ranked(self, unit: int, k: int, sign: int = 1) -> list[int]:
        """The k best finite images, ties by number."""
        answers = [row[unit] for row, _ in self._rows]
        finite = [i for i, a in enumerate(answers) if np.isfinite(a)]
        return sorted(finite, key=lambda i: (-sign * answers[i], i))[:k]


def plain_probe(
    network: Network, layers: Sequence[LayerInfo], pictures: Sequence[NDArray[np.uint8]]
) -> dict[str, PlainAnswers]:
    """What each layer, by name, answers to pictures (H, W, C)."""
    result = {layer.name: PlainAnswers() for layer in layers}
    for picture in pictures:
        outputs = _outputs(network, {layer.read_at for layer in layers}, picture)
        for layer in layers:
            result[layer.name].look(outputs[layer.read_at], layer)
    return result


def _outputs(network: Network, places: set[str], picture: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    x = (picture.astype(np.float32) / 255 - np.array(network.mean, np.float32)) / np.array(network.std, np.float32)
    outputs: dict[str, NDArray[np.float32]] = {}

    def keeper(place: str):
        def keep(module, inputs, output) -> None:
            outputs.setdefault(place, output.detach().numpy().copy())

        return keep

    with ExitStack() as stack, torch.no_grad():
        for place in places:
            stack.callback(network.module.get_submodule(place).register_forward_hook(keeper(place)).remove)
        network.module(torch.from_numpy(x.transpose(2, 0, 1)[None].copy()))
    return outputs
