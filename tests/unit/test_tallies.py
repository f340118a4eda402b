"""Tallies add up to the same whichever way the set was cut."""

from dataclasses import fields
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidRequest
from deepvis.counting import RunningRanking, RunningSums
from deepvis.peaks import Peaks
from deepvis.tallies import NO_IMAGE, Ranking, Tally, dump, load, merge

UNITS, POSITIONS, K = 3, 4, 3
# Few values, so that there are ties; some that count for nothing.
values = st.sampled_from([-2.5, -1.0, 0.0, 0.5, 0.5, 3.0, 1e-9, float("nan"), float("inf"), float("-inf")])
maps = st.lists(st.lists(values, min_size=UNITS * POSITIONS, max_size=UNITS * POSITIONS), min_size=1, max_size=14)
cuts = st.lists(st.integers(0, 14), max_size=4)


def tally_of(rows: list[list[float]], first: int = 0) -> Tally:
    """Of images `first`, `first` + 1, ...; their labels are their numbers modulo 3, the even ones are the sample."""
    every = torch.tensor(rows).reshape(-1, UNITS, POSITIONS)
    numbers = np.arange(first, first + len(rows))
    answers = every.amax(2)
    top, low, sums = RunningRanking(UNITS, K, every.device, 1), RunningRanking(UNITS, K, every.device, -1), None
    sums = RunningSums(UNITS, every.device)
    for i in range(0, len(rows), 2):  # in batches
        for ranking in (top, low):
            ranking.see(Peaks.of(every[i : i + 2]), torch.from_numpy(numbers[i : i + 2]))
        sums.see(answers[i : i + 2], numbers[i : i + 2] % 3)
    return Tally(
        ranges=np.array([[first, first + len(rows)]]),
        top=top.ranking(),
        low=low.ranking(),
        sample=numbers[numbers % 2 == 0],
        profile=answers.numpy()[numbers % 2 == 0],
        **sums.numpy(),
    )


def assert_same(a: Tally, b: Tally) -> None:
    for field in fields(Tally):
        ours, theirs = getattr(a, field.name), getattr(b, field.name)
        if isinstance(ours, Ranking):
            for part in fields(Ranking):
                np.testing.assert_array_equal(getattr(ours, part.name), getattr(theirs, part.name), field.name)
        else:
            np.testing.assert_array_equal(ours, theirs, field.name)  # sums of so few are exact in double precision
            assert getattr(ours, "dtype", None) == getattr(theirs, "dtype", None)


@given(maps, cuts, st.randoms())
def test_any_cut_in_any_order_gives_the_same_as_one(rows: list[list[float]], places: list[int], random) -> None:
    edges = sorted({0, len(rows), *(place for place in places if place < len(rows))})
    parts = [tally_of(rows[a:b], a) for a, b in pairwise(edges)]
    whole = tally_of(rows)
    assert_same(merge(*parts), whole)
    random.shuffle(parts)
    one = parts[0]
    for part in parts[1:]:
        one = merge(one, part)
    assert_same(one, whole)


@given(maps)
def test_rankings_and_sums_are_those_of_a_plain_count(rows: list[list[float]]) -> None:
    tally, every = tally_of(rows), np.array(rows, np.float32).reshape(-1, UNITS, POSITIONS)
    for unit in range(UNITS):
        answers = every[:, unit].max(1)
        finite = [i for i in range(len(rows)) if np.isfinite(answers[i])]
        for ranking, sign in ((tally.top, -1), (tally.low, 1)):
            best = sorted(finite, key=lambda i: (sign * answers[i], i))[:K]
            assert ranking.images[unit].tolist() == best + [NO_IMAGE] * (K - len(best))
            assert ranking.answers[unit, : len(best)].tolist() == answers[best].tolist()
            assert ranking.positions[unit, : len(best)].tolist() == [int(every[i, unit].argmax()) for i in best]
        kept = answers[finite].astype(np.float64)
        assert tally.count[unit] == len(kept) == tally.histogram[unit].sum()
        assert tally.non_finite[unit] == len(rows) - len(kept)
        assert tally.active[unit] == (kept > 0).sum()
        assert tally.total[unit] == pytest.approx(kept.sum())
        assert tally.squares[unit] == pytest.approx((kept**2).sum())
        assert tally.rectified[unit] == pytest.approx(kept.clip(0).sum())
        assert tally.rectified_squares[unit] == pytest.approx((kept.clip(0) ** 2).sum())
        for label, counts, totals in zip(tally.labels, tally.label_counts, tally.label_totals, strict=True):
            own = [answers[i] for i in finite if i % 3 == label]
            assert counts[unit] == len(own)
            assert totals[unit] == pytest.approx(np.sum(own))


@given(maps)
def test_a_tally_survives_its_file(rows: list[list[float]]) -> None:
    tally = tally_of(rows)
    assert_same(load(dump(tally)), tally)
    assert dump(load(dump(tally))) == dump(tally)


def test_what_is_no_tally_is_refused() -> None:
    data = dump(tally_of([[1.0] * 12]))
    for bad in (b"", b"no tally", data[:-1]):
        with pytest.raises(InvalidRequest, match="no tally"):
            load(bad)


def test_an_image_counts_once() -> None:
    a, b = tally_of([[1.0] * 12] * 4, 0), tally_of([[2.0] * 12] * 4, 3)
    with pytest.raises(ValueError, match="images 3 to 3 are in both"):
        merge(a, b)


def test_parts_may_lie_apart() -> None:
    a, b, c = (tally_of([[1.0] * 12] * 2, first) for first in (0, 4, 2))
    apart = merge(b, a)
    assert apart.ranges.tolist() == [[0, 2], [4, 6]]
    assert merge(apart, c).ranges.tolist() == [[0, 6]]


def test_other_layers_do_not_go_together() -> None:
    a = tally_of([[1.0] * 12])
    with pytest.raises(ValueError, match="do not go together"):
        merge(a, Tally(**{**vars(tally_of([[1.0] * 12], 5)), "low": None}))
    with pytest.raises(ValueError, match="got none"):
        merge()
