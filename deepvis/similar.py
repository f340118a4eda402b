"""Units that answer alike: nearest neighbours by the correlation of their answers to the same images."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NO_NEIGHBOUR = -1

_ROWS = 512
"""Units compared with all others at once: bounds memory."""


@dataclass(frozen=True)
class Neighbours:
    """Of U units, each unit's n nearest, nearest first; NO_NEIGHBOUR where there are fewer."""

    units: NDArray[np.int64]  # (U, n): columns of the profile
    correlations: NDArray[np.float32]  # (U, n), -1..1


def nearest_columns(
    profile: NDArray[np.float32], count: int, on_progress: Callable[[float], None] | None = None
) -> Neighbours:
    """The nearest neighbours of every column by correlation; columns that are constant neither have nor are any.

    Every column is compared with every other: docs/decisions/similar-units.md says why.

    Args:
        profile: (S, U) answers of U units to S images; what is not finite counts as its unit's mean.
        count: how many neighbours, at most.
        on_progress: called now and then with the part that is done; what it raises ends the call.
    """
    directions, is_known = _directions(profile)
    result = Neighbours(
        np.full((len(directions), count), NO_NEIGHBOUR, np.int64),
        np.full((len(directions), count), np.nan, np.float32),
    )
    known = np.flatnonzero(is_known)
    most = min(count, len(known) - 1)
    directions = directions[known]
    for start in range(0, len(known) if most > 0 else 0, _ROWS):
        units = known[start : start + _ROWS]
        places, correlations = _nearest(directions, start, most)
        result.units[units, :most] = known[places]
        result.correlations[units, :most] = correlations
        if on_progress:
            on_progress((start + len(units)) / len(known))
    return result


def _nearest(directions: NDArray[np.float32], start: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Rows nearest to each of those from `start` on, and their scalar products, both (rows, count), nearest first."""
    products = directions[start : start + _ROWS] @ directions.T
    rows = np.arange(len(products))
    products[rows, start + rows] = -np.inf  # none is its own neighbour
    places = np.argpartition(products, -count, axis=1)[:, -count:]
    found = np.take_along_axis(products, places, 1)
    order = np.lexsort((places, -found), axis=1)
    return np.take_along_axis(places, order, 1), np.take_along_axis(found, order, 1)


def _directions(profile: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """(U, S) centred answers of length 1, whose scalar products are correlations; and which units are not constant."""
    answers = profile.T.astype(np.float64)
    finite = np.isfinite(answers)
    answers = np.where(finite, answers, 0)
    mean = answers.sum(1, keepdims=True) / np.maximum(finite.sum(1, keepdims=True), 1)
    centred = np.where(finite, answers - mean, 0)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    # A mean is not exact: what is left of a constant when it is taken away is no direction.
    known = length[:, 0] > 1e-9 * np.linalg.norm(answers, axis=1)
    return (centred / np.where(known[:, None], length, 1)).astype(np.float32), known
