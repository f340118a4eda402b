"""What a tally says of each unit, in numbers for people."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepvis import bins
from deepvis.tallies import Tally

MOST_LABELS = 10

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class UnitStatistics:
    """Of U units, (U,) each; not a number where it is not defined.

    mean, deviation: of answers (population).
    fraction_active: the part of the images whose answer is above zero.
    sparseness: lifetime sparseness of the rectified answers r over n images (Vinje & Gallant 2000, after Treves & Rolls
        1991): (1 - mean(r)^2 / mean(r^2)) / (1 - 1/n): 0 for a unit that answers to all alike, 1 for one that answers
        to a single image.
    selectivity: class selectivity (Morcos et al. 2018): (a - b) / (a + b) for the highest mean rectified answer a of a
        label, and the mean b of the other labels' means.
    dead: the answer is the same for all of two or more images; or the unit is read by a rectifier only, and no answer
        was above zero.
    """

    mean: Doubles
    deviation: Doubles
    fraction_active: Doubles
    sparseness: Doubles
    selectivity: Doubles
    dead: NDArray[np.bool_]


@dataclass(frozen=True)
class PreferredLabel:
    """A label that a unit answers to more than to most images."""

    label: int
    images: int
    mean: float  # answer to the label's images
    effect: float  # (mean - mean over all images) / deviation over all images; 0 where nothing deviates


def unit_statistics(tally: Tally) -> UnitStatistics:
    """The statistics of every unit of a tally."""
    mean, deviation = _mean_and_deviation(tally)
    return UnitStatistics(
        mean=mean,
        deviation=deviation,
        fraction_active=_divided(tally.active, tally.count),
        sparseness=_sparseness(tally),
        selectivity=_selectivity(tally),
        dead=(tally.count > 1) & (tally.lowest == tally.highest)
        | (tally.rectifies & (tally.count > 0) & (tally.active == 0)),
    )


def preferred_labels(tally: Tally, most: int = MOST_LABELS) -> Iterator[list[PreferredLabel]]:
    """Of every unit, the labels of highest mean answer, highest first; of equal ones the lower label."""
    mean, deviation = _mean_and_deviation(tally)
    for unit in range(tally.units):
        yield _preferred(tally, unit, float(mean[unit]), float(deviation[unit]), most)


def _preferred(tally: Tally, unit: int, mean: float, deviation: float, most: int) -> list[PreferredLabel]:
    counts = tally.label_counts[:, unit]
    means = _divided(tally.label_totals[:, unit], counts)
    order = np.lexsort((tally.labels, -np.nan_to_num(means, nan=-np.inf)))
    return [
        PreferredLabel(
            label=int(tally.labels[row]),
            images=int(counts[row]),
            mean=float(means[row]),
            effect=(float(means[row]) - mean) / deviation if deviation > 0 else 0.0,
        )
        for row in order[:most]
        if counts[row]
    ]


def percentiles(tally: Tally, answers: ArrayLike) -> Doubles:
    """The part of each unit's answers that is below its one of `answers` (U,), 0..1; error: see `deepvis.bins`."""
    return bins.share_below(tally.histogram, tally.lowest, tally.highest, answers)


def quantiles(tally: Tally, share: float) -> Doubles:
    """The answer that `share` (0..1) of each unit's answers are below; error: see `deepvis.bins`."""
    return bins.quantile(tally.histogram, tally.lowest, tally.highest, share)


def _mean_and_deviation(tally: Tally) -> tuple[Doubles, Doubles]:
    mean = _divided(tally.total, tally.count)
    variance = np.maximum(_divided(tally.squares, tally.count) - mean**2, 0)
    # Rounding leaves a rest of the squares of what does not vary at all.
    return mean, np.where(tally.lowest == tally.highest, 0, np.sqrt(variance))


def _sparseness(tally: Tally) -> Doubles:
    mean, square = _divided(tally.rectified, tally.count), _divided(tally.rectified_squares, tally.count)
    fewest = 1 - _divided(np.ones(tally.units), tally.count)
    return _divided(1 - _divided(mean**2, square), fewest)


def _selectivity(tally: Tally) -> Doubles:
    means = _divided(tally.label_rectified, tally.label_counts)  # (L, U)
    labels = np.isfinite(means).sum(0)
    highest = np.max(means, axis=0, where=np.isfinite(means), initial=-np.inf)
    others = _divided(np.nansum(means, axis=0) - highest, labels - 1)
    return _divided(highest - others, highest + others)


def _divided(a: NDArray[np.generic], b: NDArray[np.generic]) -> Doubles:
    """a / b; not a number where b is not above zero."""
    above = np.asarray(b) > 0
    return np.where(above, np.asarray(a, np.float64) / np.where(above, b, 1), np.nan)
