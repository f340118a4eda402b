"""Statistics of units, against their formulas on the answers themselves."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from deepvis.counting import RunningRanking, RunningSums
from deepvis.tallies import Tally
from deepvis.unit_statistics import percentiles, preferred_labels, quantiles, unit_statistics

CPU = torch.device("cpu")


def _tally(answers: np.ndarray, labels: np.ndarray) -> Tally:
    sums = RunningSums(answers.shape[1], CPU)
    if len(answers):
        sums.see(torch.from_numpy(answers), labels)
    return Tally(
        ranges=np.array([[0, len(answers)]]),
        top=RunningRanking(answers.shape[1], 1, CPU, 1).ranking(),
        low=None,
        sample=np.zeros(0, np.int64),
        profile=answers[:0],
        **sums.numpy(),
    )


@pytest.fixture
def answers() -> np.ndarray:
    values = np.random.default_rng(0).standard_normal((40, 5)).astype(np.float32)
    values[:, 1] = np.abs(values[:, 1]) + 2
    values[3, 2] = np.nan
    values[:, 3] = 0.3
    values[:, 4] = -np.abs(values[:, 4])
    return values


LABELS = np.arange(40) % 4 * 10


def test_the_formulas(answers: np.ndarray) -> None:
    statistics = unit_statistics(_tally(answers, LABELS))
    for unit in range(5):
        kept = np.isfinite(answers[:, unit])
        a = answers[kept, unit].astype(np.float64)
        r, n = a.clip(0), len(a)
        assert statistics.mean[unit] == pytest.approx(a.mean())
        assert statistics.deviation[unit] == pytest.approx(a.std(), abs=1e-9)
        assert statistics.fraction_active[unit] == (a > 0).mean()
        if unit == 4:
            assert np.isnan(statistics.sparseness[unit])
            assert np.isnan(statistics.selectivity[unit])
            continue
        assert statistics.sparseness[unit] == pytest.approx((1 - r.mean() ** 2 / (r**2).mean()) / (1 - 1 / n))
        means = sorted(r[LABELS[kept] == label].mean() for label in (0, 10, 20, 30))
        others = np.mean(means[:-1])
        assert statistics.selectivity[unit] == pytest.approx((means[-1] - others) / (means[-1] + others))


def test_extremes_of_sparseness_and_selectivity() -> None:
    answers = np.zeros((8, 2), np.float32)
    answers[5, 0], answers[:, 1] = 3, 2
    statistics = unit_statistics(_tally(answers, np.arange(8)))
    assert statistics.sparseness.tolist() == [1, 0]
    assert statistics.selectivity.tolist() == [1, 0]


def test_dead_units(answers: np.ndarray) -> None:
    tally = _tally(answers, LABELS)
    assert unit_statistics(tally).dead.tolist() == [False, False, False, True, False]
    assert unit_statistics(replace(tally, rectifies=True)).dead.tolist() == [False, False, False, True, True]
    assert not unit_statistics(_tally(answers[:1], LABELS[:1])).dead.any()  # one image tells nothing


def test_preferred_labels(answers: np.ndarray) -> None:
    answers[LABELS == 20, 0] += 5
    labels = next(preferred_labels(_tally(answers, LABELS)))
    assert [label.images for label in labels] == [10] * 4
    assert labels[0].label == 20
    assert [label.mean for label in labels] == sorted((label.mean for label in labels), reverse=True)
    own = answers[LABELS == 20, 0].astype(np.float64).mean()
    assert labels[0].mean == pytest.approx(own)
    every = answers[:, 0].astype(np.float64)
    assert labels[0].effect == pytest.approx((own - every.mean()) / every.std())
    assert [label.effect for label in list(preferred_labels(_tally(answers, LABELS)))[3]] == [0] * 4
    assert [label.label for label in list(preferred_labels(_tally(answers, LABELS), 2))[3]] == [0, 10]
    assert next(preferred_labels(_tally(answers, np.full(40, -1)))) == []


def test_quantiles_and_percentiles(answers: np.ndarray) -> None:
    tally = _tally(answers, LABELS)
    median = np.median(answers[:, 1])
    assert quantiles(tally, 0.5)[1] == pytest.approx(median, rel=0.15)
    assert percentiles(tally, np.full(5, median))[1] == pytest.approx(0.5, abs=0.2)
    assert percentiles(tally, np.full(5, 1e9)).tolist() == [1] * 5


def test_nothing_was_seen() -> None:
    statistics = unit_statistics(_tally(np.zeros((0, 2), np.float32), LABELS[:0]))
    assert all(np.isnan(getattr(statistics, name)).all() for name in ("mean", "deviation", "sparseness", "selectivity"))
    assert not statistics.dead.any()
