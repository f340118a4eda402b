"""Bins that fit the answers of any network, so that histograms of any two passes can be added.

    ... | -e2 .. -e1 | -e1 .. e0 | -e0 .. e0 | e0 .. e1 | e1 .. e2 | ...        e_i = 2 ** (-24 + i / 5)

Five bins to a doubling, of either sign, from 2^-24 (6e-8) to 2^20 (a million), and one around zero: 441 bins. A bin
holds its lower edge and not its upper one; the two outermost hold whatever lies beyond as well. So a quantile read from
a histogram is wrong by no more than the relative width of a bin, 2^(1/5) - 1 = 15 %, or by 6e-8 around zero.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

_PER_OCTAVE = 5
_LOWEST_OCTAVE, _HIGHEST_OCTAVE = -24, 20
_POSITIVE = 2.0 ** (np.arange(_LOWEST_OCTAVE * _PER_OCTAVE, _HIGHEST_OCTAVE * _PER_OCTAVE) / _PER_OCTAVE)

EDGES: NDArray[np.float32] = np.concatenate([-_POSITIVE[::-1], _POSITIVE]).astype(np.float32)
"""The inner edges, ascending."""
BINS = len(EDGES) + 1


def bin_of(values: ArrayLike) -> NDArray[np.int64]:
    """Which bin each value lies in, 0 .. BINS - 1."""
    return np.searchsorted(EDGES, np.asarray(values, np.float32), side="right")


def share_below(counts: NDArray[np.int64], lowest: float, highest: float, value: float) -> float:
    """The part of the counted values that are below `value`, 0..1; wrong by at most the share of the value's bin.

    Args:
        counts: (BINS,)
        lowest: the lowest value that was counted.
        highest: the highest; within a bin, values are taken to be spread evenly.
        value: any number.

    Returns:
        0 where nothing was counted.
    """
    total = int(counts.sum())
    if not total or value <= lowest:
        return 0.0
    if value > highest:
        return 1.0
    place = int(bin_of(value))
    low, high = _bounds(place, lowest, highest)
    inside = (value - low) / (high - low) if high > low else 0.0
    return float((counts[:place].sum() + counts[place] * min(max(inside, 0.0), 1.0)) / total)


def quantile(counts: NDArray[np.int64], lowest: float, highest: float, share: float) -> float:
    """The value that `share` (0..1) of the counted values are below; arguments and error as above.

    Returns:
        Not a number where nothing was counted.
    """
    total = int(counts.sum())
    if not total:
        return float("nan")
    wanted = share * total
    place = min(int(np.searchsorted(counts.cumsum(), wanted)), BINS - 1)
    if not counts[place]:  # a share of 0
        return lowest
    low, high = _bounds(place, lowest, highest)
    return low + (high - low) * (wanted - int(counts[:place].sum())) / int(counts[place])


def _bounds(place: int, lowest: float, highest: float) -> tuple[float, float]:
    """Between which values those of a bin lie."""
    low = max(float(EDGES[place - 1]), lowest) if place else lowest
    high = min(float(EDGES[place]), highest) if place < len(EDGES) else highest
    return low, max(low, high)
