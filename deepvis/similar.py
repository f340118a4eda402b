"""Units that answer alike: nearest neighbours by the correlation of their answers to the same images."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from usearch.index import Index

from deepvis.tallies import Tally

NO_NEIGHBOUR = -1

# Of the graph that is searched: for SqueezeNet's 3,976 units, 200 photographs, it finds what looking at all does.
_CONNECTIVITY, _EXPANSION = 32, 256


@dataclass(frozen=True)
class Neighbours:
    """Of U units, each unit's n nearest, nearest first; NO_NEIGHBOUR where there are fewer."""

    units: NDArray[np.int64]  # (U, n): columns of the profile
    correlations: NDArray[np.float32]  # (U, n), -1..1


@dataclass(frozen=True)
class SimilarUnit:
    """A unit somewhere in the network, and how its answers correlate with those of the unit it was found for."""

    layer: str
    unit: int
    correlation: float


def nearest_columns(profile: NDArray[np.float32], count: int) -> Neighbours:
    """The nearest neighbours of every column by correlation; columns that are constant neither have nor are any.

    Args:
        profile: (S, U) answers of U units to S images; what is not finite counts as its unit's mean.
        count: how many neighbours, at most.
    """
    directions, is_known = _directions(profile)
    result = Neighbours(
        np.full((len(directions), count), NO_NEIGHBOUR, np.int64),
        np.full((len(directions), count), np.nan, np.float32),
    )
    known = np.flatnonzero(is_known)
    if len(known) < 2:
        return result
    index = Index(ndim=directions.shape[1], metric="cos", dtype="f32", connectivity=_CONNECTIVITY,
                  expansion_add=_EXPANSION, expansion_search=_EXPANSION)  # fmt: skip
    index.add(known, directions[known], threads=1)  # in order, so that the same profile makes the same graph
    found = index.search(directions[known], min(count + 1, len(known)))  # and the unit itself
    for unit, keys, distances in zip(known, found.keys.astype(np.int64), found.distances, strict=True):
        others = np.flatnonzero(keys != unit)[:count]
        result.units[unit, : len(others)] = keys[others]
        result.correlations[unit, : len(others)] = 1 - distances[others]
    return result


def similar_units(tallies: Mapping[str, Tally], count: int = 10) -> dict[str, list[list[SimilarUnit]]]:
    """For every layer and unit the most similar units of all these layers, most similar first.

    Args:
        tallies: by layer, of the same images.
        count: how many for each unit, at most.
    """
    addresses = [(name, unit) for name, tally in tallies.items() for unit in range(tally.units)]
    near = nearest_columns(np.concatenate([tally.profile for tally in tallies.values()], 1), count)
    rows = iter(zip(near.units.tolist(), near.correlations.tolist(), strict=True))
    return {
        name: [_similar(addresses, *row) for _, row in zip(range(tally.units), rows, strict=False)]
        for name, tally in tallies.items()
    }


def _similar(addresses: list[tuple[str, int]], units: list[int], correlations: list[float]) -> list[SimilarUnit]:
    found = zip(units, correlations, strict=True)
    return [SimilarUnit(*addresses[unit], correlation) for unit, correlation in found if unit != NO_NEIGHBOUR]


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
