"""What a pass over a set of images leaves of one layer: sums that add up, whichever way the set was cut."""

from dataclasses import dataclass, fields, replace
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from core.errors import InvalidRequest
from deepvis.bins import BINS

MOST_TOP = 100
MOST_SAMPLE = 1024
NO_IMAGE = -1
NO_POSITION = -1

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Ranking:
    """The images that units answer to most, or least: (units, k) each; NO_IMAGE where there were fewer than k.

    Highest first: by (-answer, image); lowest first: by (answer, image).
    """

    answers: Floats
    images: Counts  # their numbers in the set
    positions: Counts  # of the answer: flat index into the map of positions, NO_POSITION for units that have none


@dataclass(frozen=True)
class Tally:
    """What is known of U units' answers to N images.

    A unit's answer to an image is its highest activation over all positions; of units that have none, their value; of
    class units on a map, the mean. Answers that are infinite or not a number count in `non_finite`, and nowhere else.
    """

    ranges: Counts  # (R, 2): from, up to (exclusive): which images were looked at, ascending, apart from each other
    top: Ranking
    low: Ranking | None  # the lowest answers, where they were asked for
    count: Counts  # (U,)
    non_finite: Counts  # (U,)
    active: Counts  # (U,) answers above zero
    lowest: Floats  # (U,) infinite where count is 0
    highest: Floats  # (U,)
    total: Doubles  # (U,) sum of answers
    squares: Doubles  # (U,) sum of their squares
    rectified: Doubles  # (U,) sum of max(answer, 0)
    rectified_squares: Doubles  # (U,)
    histogram: Counts  # (U, BINS), see `deepvis.bins`
    labels: Counts  # (L,) ascending, those that occur
    label_counts: Counts  # (L, U)
    label_totals: Doubles  # (L, U)
    label_rectified: Doubles  # (L, U)
    sample: Counts  # (S,) ascending: numbers of the images whose answers are kept
    profile: Floats  # (S, U)
    rectifies: bool = False  # what reads the layer first is a rectifier: answers below zero go no further

    @property
    def units(self) -> int:
        """How many units there are."""
        return len(self.count)


# --- adding --------------------------------------------------------------------------


def merge(*tallies: Tally) -> Tally:
    """The tally of all the images together. Float sums are added in the order of the images.

    Rankings, histograms, counts and profiles are exactly those of a single pass in whichever order parts are merged;
    sums of floats, which are kept in double precision, up to their rounding.

    Raises:
        ValueError: there are none, they are of different layers or passes, or an image is in two of them.
    """
    if not tallies:
        raise ValueError("expected one tally or more to merge, got none")
    return reduce(_merge_two, sorted(tallies, key=lambda tally: tally.ranges[:1, 0].tolist()))


def _merge_two(a: Tally, b: Tally) -> Tally:
    _check_alike(a, b)
    sums = ("count", "non_finite", "active", "total", "squares", "rectified", "rectified_squares", "histogram")
    order = np.argsort(sample := np.concatenate([a.sample, b.sample]), kind="stable")
    labels = np.union1d(a.labels, b.labels)
    return replace(
        a,
        ranges=_join_ranges(a.ranges, b.ranges),
        top=_merge_rankings(a.top, b.top, descending=True),
        low=_merge_rankings(a.low, b.low, descending=False) if a.low and b.low else None,
        lowest=np.minimum(a.lowest, b.lowest),
        highest=np.maximum(a.highest, b.highest),
        labels=labels,
        **{name: getattr(a, name) + getattr(b, name) for name in sums},
        **{name: _add_labelled(a, b, labels, name) for name in ("label_counts", "label_totals", "label_rectified")},
        sample=sample[order],
        profile=np.concatenate([a.profile, b.profile])[order],
    )


def _check_alike(a: Tally, b: Tally) -> None:
    ours, theirs = ((t.units, t.top.images.shape[1], t.low is not None, t.rectifies) for t in (a, b))
    if ours != theirs:
        raise ValueError(f"tallies of (units, k, lowest, rectifies) {ours} and {theirs} do not go together")


def _join_ranges(a: Counts, b: Counts) -> Counts:
    """Both sets of ranges as one, neighbours joined."""
    joined: list[list[int]] = []
    for start, stop in sorted([*a.tolist(), *b.tolist()]):
        if joined and start < joined[-1][1]:
            raise ValueError(f"images {start} to {min(stop, joined[-1][1]) - 1} are in both tallies")
        if joined and start == joined[-1][1]:
            joined[-1][1] = stop
        else:
            joined.append([start, stop])
    return np.array(joined, np.int64).reshape(-1, 2)


def _merge_rankings(a: Ranking, b: Ranking, *, descending: bool) -> Ranking:
    answers, images, positions = (
        np.concatenate([getattr(a, name), getattr(b, name)], 1) for name in ("answers", "images", "positions")
    )
    last = np.iinfo(np.int64).max
    keys = (np.where(images == NO_IMAGE, last, images), -answers if descending else answers)
    first = np.lexsort(keys, axis=1)[:, : a.images.shape[1]]
    return Ranking(*(np.take_along_axis(values, first, 1) for values in (answers, images, positions)))


def _add_labelled(a: Tally, b: Tally, labels: Counts, name: str) -> Any:
    ours = getattr(a, name)
    result = np.zeros((len(labels), a.units), ours.dtype)
    for tally in (a, b):
        result[np.searchsorted(labels, tally.labels)] += getattr(tally, name)
    return result


# --- keeping --------------------------------------------------------------------------

_NESTED = {"top": Ranking, "low": Ranking}
_SPARSE = "histogram"  # a unit's answers lie in some dozens of its bins


def dump(tally: Tally) -> bytes:
    """The tally as a safetensors file; the same tally makes the same bytes."""
    tensors: dict[str, NDArray[np.generic]] = {}
    for field in fields(Tally):
        value = getattr(tally, field.name)
        if isinstance(value, Ranking):
            tensors |= {f"{field.name}.{part.name}": getattr(value, part.name) for part in fields(Ranking)}
        elif isinstance(value, np.ndarray) and field.name != _SPARSE:
            tensors[field.name] = value
    places = np.flatnonzero(tally.histogram)
    tensors["histogram.places"] = places.astype(np.uint32)
    tensors["histogram.counts"] = tally.histogram.reshape(-1)[places]
    tensors["rectifies"] = np.array([tally.rectifies])
    return save_tensors({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()})


def load(data: bytes) -> Tally:
    """The tally that `dump` wrote.

    Raises:
        InvalidRequest: the bytes are no tally.
    """
    try:
        return _from_tensors(load_tensors(data))
    except Exception as error:  # safetensors and numpy raise many kinds for what is broken
        raise InvalidRequest(
            f"The file is no tally: {type(error).__name__}: {error}.", "Probe that range again."
        ) from error


def _from_tensors(tensors: dict[str, NDArray[np.generic]]) -> Tally:
    values: dict[str, object] = {name: tensor for name, tensor in tensors.items() if "." not in name}
    for name in _NESTED:
        parts = {field.name: tensors.get(f"{name}.{field.name}") for field in fields(Ranking)}
        values[name] = Ranking(**parts) if parts["answers"] is not None else None  # type: ignore[arg-type]  # checked
    histogram = np.zeros(len(tensors["count"]) * BINS, np.int64)
    histogram[tensors["histogram.places"]] = tensors["histogram.counts"]
    rectifies = bool(tensors["rectifies"][0])
    return Tally(**{**values, "histogram": histogram.reshape(-1, BINS), "rectifies": rectifies})  # type: ignore[arg-type]
