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
_LOWER, _UPPER = np.append(-np.inf, EDGES), np.append(EDGES, np.inf)

Counts = NDArray[np.int64]
Doubles = NDArray[np.float64]


def bin_of(values: ArrayLike) -> NDArray[np.int64]:
    """Which bin each value lies in, 0 .. BINS - 1."""
    return np.searchsorted(EDGES, np.asarray(values, np.float32), side="right")


def share_below(counts: Counts, lowest: ArrayLike, highest: ArrayLike, values: ArrayLike) -> Doubles:
    """The part of each unit's counted answers that is below its value, 0..1; wrong by at most the share of one bin.

    Args:
        counts: (U, BINS)
        lowest: (U,) the lowest answers that were counted; within a bin answers are taken to be spread evenly.
        highest: (U,)
        values: (U,) any numbers.

    Returns:
        (U,), not a number where nothing was counted.
    """
    values = np.asarray(values, np.float64)
    place = bin_of(values)
    low, high = np.maximum(_LOWER[place], lowest), np.minimum(_UPPER[place], highest)
    inside = np.clip((values - low) / np.where(high > low, high - low, 1), 0, 1) * (high > low)
    below = (counts * (np.arange(BINS) < place[:, None])).sum(1)
    total = counts.sum(1)
    share = (below + inside * _at(counts, place)) / np.maximum(total, 1)
    share = np.where(values <= lowest, 0.0, np.where(values > highest, 1.0, share))
    return np.where(total > 0, share, np.nan)


def quantile(counts: Counts, lowest: ArrayLike, highest: ArrayLike, share: float) -> Doubles:
    """The value that `share` (0..1) of each unit's answers are below; arguments, result and error as above."""
    total = counts.sum(1)
    up_to = counts.cumsum(1)
    lowest, highest = (np.where(total > 0, limit, 0) for limit in (lowest, highest))
    place = np.minimum((up_to < share * total[:, None]).sum(1), BINS - 1)
    own = _at(counts, place)
    low, high = np.maximum(_LOWER[place], lowest), np.minimum(_UPPER[place], highest)
    inside = np.where(own > 0, (share * total - (_at(up_to, place) - own)) / np.maximum(own, 1), 0)
    value = np.where(own > 0, low + (high - low) * inside, lowest)  # a share of 0 is in no bin
    return np.where(total > 0, value, np.nan)


def _at(counts: Counts, place: Counts) -> Counts:
    """(U,): of each row what stands at its place."""
    return np.take_along_axis(counts, place[:, None], 1)[:, 0]
