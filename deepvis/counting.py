"""What a pass counts while it runs: rankings and sums of units' answers, on the device, never waiting for it."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepvis.bins import BINS, EDGES
from deepvis.inputs import NO_LABEL
from deepvis.peaks import Peaks
from deepvis.tallies import NO_IMAGE, NO_POSITION, Ranking


class RunningRanking:
    """The k images that each of U units answers to most (sign +1) or least (sign -1), of those seen so far.

    Images come in ascending order of their numbers: so of two equal answers the one that was there first stays in
    front, and a stable sort needs no second key.
    """

    def __init__(self, units: int, k: int, device: torch.device, sign: int) -> None:
        self._k = k
        self._sign = sign
        self._scores = torch.full((units, k), -torch.inf, device=device)  # sign * answer, descending
        self._images = torch.full((units, k), NO_IMAGE, device=device)
        self._positions = torch.full((units, k), NO_POSITION, device=device)

    def see(self, peaks: Peaks, numbers: Tensor) -> None:
        """Let the images of a batch, whose numbers are (N,), compete."""
        # What is not finite never gets in: the empty places, as low, stand before it.
        scores = torch.where(peaks.answers.isfinite(), self._sign * peaks.answers, -torch.inf).T  # (U, N)
        rows = self._rising(scores)
        if not len(rows):
            return
        best, order = torch.cat([self._scores[rows], scores[rows]], 1).sort(dim=1, descending=True, stable=True)
        order = order[:, : self._k]  # below k: from before; above: k + the place in the batch
        is_new, place = order >= self._k, (order - self._k).clamp(min=0)
        before = order.clamp(max=self._k - 1)
        self._scores[rows] = best[:, : self._k]
        self._images[rows] = torch.where(is_new, numbers[place], self._images[rows].gather(1, before))
        positions = self._positions[rows].gather(1, before)
        self._positions[rows] = _with_new(positions, is_new, place, rows, peaks)

    def _rising(self, scores: Tensor) -> Tensor:
        """The units whose ranking changes; on other devices than the CPU all of them, as to ask would be to wait."""
        if scores.device.type != "cpu":
            return torch.arange(len(scores), device=scores.device)
        return (scores.amax(1) > self._scores[:, -1]).nonzero().flatten()

    def ranking(self) -> Ranking:
        """As it stands."""
        return Ranking(
            (self._sign * self._scores).cpu().numpy(), self._images.cpu().numpy(), self._positions.cpu().numpy()
        )


def _with_new(positions: Tensor, is_new: Tensor, place: Tensor, rows: Tensor, peaks: Peaks) -> Tensor:
    """Positions (R, k), those that are new looked up on the image at `place` (R, k), of unit `rows` (R,)."""
    units = rows[:, None].expand_as(place)
    if positions.device.type != "cpu":  # all of them, as to choose would be to wait
        return torch.where(is_new, peaks.positions(place, units), positions)
    positions[is_new] = peaks.positions(place[is_new], units[is_new])
    return positions


class RunningSums:
    """Sums over all answers of U units seen so far; the names are those of `deepvis.tallies.Tally`."""

    def __init__(self, units: int, device: torch.device) -> None:
        self._device = device
        self._edges = torch.from_numpy(EDGES).to(device)
        self._first_bins = torch.arange(units, device=device) * BINS
        self.count, self.non_finite, self.active = (self._zeros(units, torch.int64) for _ in range(3))
        self.lowest = torch.full((units,), torch.inf, device=device)
        self.highest = torch.full((units,), -torch.inf, device=device)
        self.total, self.squares, self.rectified, self.rectified_squares = (
            self._zeros(units, torch.float64) for _ in range(4)
        )
        self.histogram = torch.zeros(units, BINS, dtype=torch.int64, device=device)
        self.by_label = LabelSums(units, device)

    def _zeros(self, units: int, dtype: torch.dtype) -> Tensor:
        return torch.zeros(units, dtype=dtype, device=self._device)

    def see(self, answers: Tensor, labels: NDArray[np.int64]) -> None:
        """Add a batch's answers (N, U), float32, to images of these labels (N,)."""
        finite = answers.isfinite()
        a = torch.where(finite, answers, 0).double()
        r = a.clamp(min=0)
        self.count += finite.sum(0)
        self.non_finite += (~finite).sum(0)
        self.active += (r > 0).sum(0)
        self.lowest = torch.minimum(self.lowest, torch.where(finite, answers, torch.inf).amin(0))
        self.highest = torch.maximum(self.highest, torch.where(finite, answers, -torch.inf).amax(0))
        self.total += a.sum(0)
        self.squares += (a * a).sum(0)
        self.rectified += r.sum(0)
        self.rectified_squares += (r * r).sum(0)
        places = self._first_bins + torch.bucketize(answers, self._edges, right=True)
        self.histogram.view(-1).scatter_add_(0, places.flatten(), finite.flatten().long())
        self.by_label.see(labels, finite, a, r)

    def numpy(self) -> dict[str, Any]:
        """The sums by their names."""
        own = {name: value for name, value in vars(self).items() if isinstance(value, Tensor) and name[0] != "_"}
        return {name: value.cpu().numpy() for name, value in (own | self.by_label.tensors()).items()}


class LabelSums:
    """Sums for each label that occurs; there is room for twice as many labels as occurred, no more."""

    def __init__(self, units: int, device: torch.device) -> None:
        self._device = device
        self._rows: dict[int, int] = {}  # label -> row
        self._counts = torch.zeros(0, units, dtype=torch.int64, device=device)
        self._totals = torch.zeros(0, units, dtype=torch.float64, device=device)
        self._rectified = torch.zeros(0, units, dtype=torch.float64, device=device)

    def see(self, labels: NDArray[np.int64], finite: Tensor, a: Tensor, r: Tensor) -> None:
        """Add answers `a` and rectified ones `r`, (N, U) each, where they are finite."""
        labelled = np.flatnonzero(labels != NO_LABEL)
        if not len(labelled):
            return
        rows = torch.tensor([self._rows.setdefault(int(label), len(self._rows)) for label in labels[labelled]])
        rows = rows.to(self._device)
        self._make_room()
        if len(labelled) < len(labels):
            chosen = torch.from_numpy(labelled).to(self._device)
            finite, a, r = finite[chosen], a[chosen], r[chosen]
        self._counts.index_add_(0, rows, finite.long())
        self._totals.index_add_(0, rows, a)
        self._rectified.index_add_(0, rows, r)

    def _make_room(self) -> None:
        if len(self._rows) <= len(self._counts):
            return
        more = 2 * len(self._rows) - len(self._counts)
        self._counts, self._totals, self._rectified = (
            torch.cat([t, t.new_zeros(more, t.shape[1])]) for t in (self._counts, self._totals, self._rectified)
        )

    def tensors(self) -> dict[str, Tensor]:
        """By the names of a tally's fields; labels ascending."""
        labels = sorted(self._rows)
        order = torch.tensor([self._rows[label] for label in labels], dtype=torch.int64, device=self._device)
        return {
            "labels": torch.tensor(labels, dtype=torch.int64),
            "label_counts": self._counts[order],
            "label_totals": self._totals[order],
            "label_rectified": self._rectified[order],
        }
