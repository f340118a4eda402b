"""One pass over a set of images: what every unit of every layer answers to, and how often.

in the network's forward pass, layer by layer:       answer = highest activation over the map's positions; rankings
once a batch, for all units of all layers together:  sums, histograms, labels, the sample's answers

A batch that does not fit into memory goes in halves.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from core.errors import InvalidRequest
from core.specs import LayerInfo
from deepvis.counting import RunningRanking, RunningSums
from deepvis.inputs import Inputs
from deepvis.listening import listening
from deepvis.memory import in_parts
from deepvis.peaks import Peaks
from deepvis.tallies import MOST_SAMPLE, MOST_TOP, Tally

Numbers = NDArray[np.int64]
_Rankings = dict[str, list[RunningRanking]]


@dataclass(frozen=True, kw_only=True)
class ProbeOptions:
    """What a pass keeps beside sums and histograms.

    Raises:
        InvalidRequest: a number is out of its range.
    """

    k: int = 9  # images ranked for each unit, 1 to MOST_TOP
    lowest: bool = False  # rank the images that units answer to least as well
    sample: frozenset[int] = frozenset()  # numbers of the images whose answers are kept one by one, MOST_SAMPLE at most
    rectified: frozenset[str] = frozenset()  # layers read by rectifiers only: `deepvis.graph.rectified_layers`

    def __post_init__(self) -> None:
        if not 1 <= self.k <= MOST_TOP:
            raise InvalidRequest(f"The top {self.k} images of each unit were asked for.", f"Ask for 1 to {MOST_TOP}.")
        if len(self.sample) > MOST_SAMPLE:
            raise InvalidRequest(f"The sample has {len(self.sample)} images.", f"It has at most {MOST_SAMPLE}.")


class Probe:
    """A pass over a range of images.

    Args:
        module: float32, in evaluation mode, on `device`; it is left as it was found.
        layers: of that module, one or more.
        device: where the pass counts.
        options: what it keeps.

    Raises:
        InvalidRequest: there are no layers.
    """

    def __init__(
        self, module: nn.Module, layers: Sequence[LayerInfo], device: torch.device, options: ProbeOptions
    ) -> None:
        if not layers:
            raise InvalidRequest("There are no layers to probe.", "Name one layer or more.")
        self._module, self._layers, self._options = module, layers, options
        signs = (1, -1) if options.lowest else (1,)
        self._rankings: _Rankings = {
            layer.name: [RunningRanking(layer.units, options.k, device, sign) for sign in signs] for layer in layers
        }
        self._sums = RunningSums(sum(layer.units for layer in layers), device)
        self._kept: list[tuple[Numbers, Tensor]] = []  # of the sample: numbers (S,) and answers (S, all units)
        self._seen: tuple[int, int] | None = None  # first image, last image + 1

    def see(self, inputs: Inputs, x: Tensor) -> None:
        """Count a batch.

        Args:
            inputs: with higher numbers than all before.
            x: its pixels as the module's normalised input, (N, C, H, W), on the device.

        Raises:
            BadNetwork: a layer is not reached, or not even one image fits into memory.
        """
        self._advance(inputs)
        count = len(inputs.numbers)
        for rows, (answers, rankings) in in_parts(
            x.device, count, count, "a probe set", partial(self._pass, inputs, x)
        ):
            self._rankings = rankings
            self._sums.see(answers, inputs.labels[rows])
            self._keep(inputs.numbers[rows], answers)

    def _advance(self, inputs: Inputs) -> None:
        numbers = [*inputs.numbers.tolist(), *(skipped.number for skipped in inputs.skipped)]
        if not numbers:
            return
        first, after = self._seen or (min(numbers), 0)
        if min(numbers) < after or np.any(np.diff(inputs.numbers) <= 0):
            raise ValueError(f"expected images in ascending order, got {numbers} after {after - 1}")
        self._seen = first, max(numbers) + 1

    def _pass(self, inputs: Inputs, x: Tensor, rows: slice) -> tuple[Tensor, _Rankings]:
        """Answers (N, units of all layers, in their order) and the rankings with them; changes none that there are."""
        numbers = torch.from_numpy(inputs.numbers[rows]).to(x.device)
        rankings = deepcopy(self._rankings)
        heard: dict[str, Tensor] = {}

        def hear(layer: LayerInfo, maps: Tensor) -> None:
            peaks = Peaks.of(maps)
            heard[layer.name] = peaks.answers
            for ranking in rankings[layer.name]:
                ranking.see(peaks, numbers)

        with torch.no_grad(), listening(self._module, self._layers, hear) as run:
            run(x[rows])
        return torch.cat([heard[layer.name] for layer in self._layers], 1), rankings

    def _keep(self, numbers: Numbers, answers: Tensor) -> None:
        rows = [row for row, number in enumerate(numbers.tolist()) if number in self._options.sample]
        if rows:
            self._kept.append((numbers[rows], answers[rows]))

    def tallies(self) -> dict[str, Tally]:
        """Every layer's, by its name.

        Raises:
            InvalidRequest: there was no picture, not even one that could not be read.
        """
        if self._seen is None:
            raise InvalidRequest("There are no pictures to probe.", "Give one picture or more.")
        sums, profile = self._sums.numpy(), self._profile()
        labels = sums.pop("labels")
        result, start = {}, 0
        for layer in self._layers:
            own = slice(start, start := start + layer.units)
            top, *low = (ranking.ranking() for ranking in self._rankings[layer.name])
            result[layer.name] = Tally(
                ranges=np.array([self._seen], np.int64),
                top=top,
                low=low[0] if low else None,
                labels=labels,
                sample=np.concatenate([np.zeros(0, np.int64), *(numbers for numbers, _ in self._kept)]),
                profile=profile[:, own],
                rectifies=layer.name in self._options.rectified,
                **{name: v[:, own] if name.startswith("label_") else v[own] for name, v in sums.items()},
            )
        return result

    def _profile(self) -> NDArray[np.float32]:
        none = np.zeros((0, len(self._sums.count)), np.float32)
        return np.concatenate([none, *(answers.cpu().numpy() for _, answers in self._kept)])
