"""Histograms that fit any scale."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepvis.bins import BINS, EDGES, bin_of, quantile, share_below

WIDTH = 2 ** (1 / 5)
answers = st.lists(st.floats(-1e7, 1e7, width=32), min_size=1, max_size=60)


def _counted(values: np.ndarray) -> tuple[np.ndarray, list[float], list[float]]:
    return np.bincount(bin_of(values), minlength=BINS)[None], [values.min()], [values.max()]


def test_the_bins_are_as_documented() -> None:
    assert BINS == 441
    assert EDGES[220] == np.float32(2.0**-24)
    assert np.array_equal(EDGES, -EDGES[::-1])
    assert np.all(np.diff(EDGES) > 0)
    assert EDGES[221:] / EDGES[220:-1] == pytest.approx(WIDTH, rel=1e-6)
    assert bin_of([0, 1e-8, -1e-8, 1e30, -1e30, 1.0]).tolist() == [220, 220, 220, 440, 0, 341]
    assert bin_of(EDGES).tolist() == list(range(1, BINS))


@given(answers, st.floats(0, 1))
def test_a_quantile_is_off_by_no_more_than_a_bin(values: list[float], share: float) -> None:
    values = np.array(values, np.float32)
    (got,) = quantile(*_counted(values), share)
    ordered = np.sort(values)
    exact = float(ordered[max(int(np.ceil(share * len(values))) - 1, 0)])
    assert values.min() <= got <= values.max()
    assert bin_of(got) == bin_of(exact) or abs(got - exact) <= (WIDTH - 1) * abs(exact) + 2**-23


@given(answers, st.floats(-2e7, 2e7, width=32))
def test_a_share_is_off_by_no_more_than_its_bin_holds(values: list[float], value: float) -> None:
    values = np.array(values, np.float32)
    counts, lowest, highest = _counted(values)
    (got,) = share_below(counts, lowest, highest, [value])
    exact = np.mean(values < value)
    assert 0 <= got <= 1
    assert abs(got - exact) <= counts[0, bin_of(value)] / len(values) + 1e-12


def test_beyond_what_was_seen_and_where_nothing_was() -> None:
    counts, lowest, highest = _counted(np.array([1.0, 2.0, 3.0], np.float32))
    assert share_below(counts, lowest, highest, [0.5]) == 0
    assert share_below(counts, lowest, highest, [3.1]) == 1
    assert quantile(counts, lowest, highest, 0) == 1
    assert quantile(counts, lowest, highest, 1) == 3
    nothing = np.zeros((1, BINS), np.int64)
    assert np.isnan(share_below(nothing, [np.inf], [-np.inf], [1.0])).all()
    assert np.isnan(quantile(nothing, [np.inf], [-np.inf], 0.5)).all()
