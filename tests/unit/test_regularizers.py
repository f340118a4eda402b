import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy import stats

from core.specs import PixelMethod
from deepvis import regularizers
from deepvis.ascent import regularise
from tests.unit import paper

METHODS = [
    PixelMethod(decay=0.3),
    PixelMethod(blur_width=0.5, blur_every=1),
    PixelMethod(blur_width=1.0, blur_every=4),
    PixelMethod(blur_width=7.5, blur_every=1),
    PixelMethod(norm_percentile=20),
    PixelMethod(norm_percentile=50),
    PixelMethod(contribution_percentile=90),
    PixelMethod(value_percentile=33.3),
    PixelMethod(benefit_percentile=66),
    PixelMethod(decay=0.01, blur_width=0.7, blur_every=2, norm_percentile=30, contribution_percentile=40),
]


@pytest.mark.parametrize("shape", [(3, 23, 31), (1, 7, 7), (5, 12, 3)])
@pytest.mark.parametrize("method", METHODS, ids=str)
def test_batched_regularisers_agree_with_the_paper_per_image(method: PixelMethod, shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(0)
    x, g = rng.normal(0, 20, (4, *shape)), rng.normal(0, 1, (4, *shape))
    x[0] *= 100  # images of very different scale must not influence each other
    for step in (0, 1, 4):
        expected = np.stack([paper.regularise(x[i], g[i], method, step) for i in range(4)])
        got = regularise(torch.tensor(x), torch.tensor(g), method, step)
        np.testing.assert_allclose(got.numpy(), expected, rtol=1e-12, atol=1e-9)
        single = regularise(torch.tensor(x).float(), torch.tensor(g).float(), method, step)
        np.testing.assert_allclose(single.numpy(), expected, rtol=2e-5, atol=2e-3)


@given(npst.arrays(np.float64, st.integers(1, 40), elements=st.integers(-3, 3).map(float)), st.integers(0, 99))
def test_below_percentile_is_exact_with_ties(values: np.ndarray, percentile: int) -> None:
    ordered = [Fraction(v) for v in np.sort(values)]
    rank = Fraction(percentile, 100) * (len(values) - 1)
    low = math.floor(rank)
    high = min(low + 1, len(values) - 1)
    threshold = ordered[low] + (rank - low) * (ordered[high] - ordered[low])
    mask = regularizers.below_percentile(torch.tensor(values)[None], percentile)[0]
    assert mask.tolist() == [Fraction(v) < threshold for v in values]


@given(npst.arrays(np.float64, (3, 50), elements=st.floats(-1e6, 1e6)), st.sampled_from([20, 50, 90, 12.5]))
def test_below_percentile_rows_are_independent(values: np.ndarray, percentile: float) -> None:
    together = regularizers.below_percentile(torch.tensor(values), percentile)
    alone = torch.cat([regularizers.below_percentile(torch.tensor(row)[None], percentile) for row in values])
    assert torch.equal(together, alone)


@pytest.mark.parametrize(("amplitude", "agreement"), [(10.0, 0.75), (0.001, 0.99)])
def test_linear_contribution_ranks_pixels_like_the_exact_one(amplitude: float, agreement: float) -> None:
    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3),
        torch.nn.ReLU(),
        torch.nn.Conv2d(8, 4, 3),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(4 * 64, 1),
    ).double()
    x = torch.randn(3, 12, 12, dtype=torch.float64) * amplitude

    def activation(image: np.ndarray) -> float:
        with torch.no_grad():
            return float(module(torch.tensor(image)[None]))

    leaf = x[None].clone().requires_grad_()
    (g,) = torch.autograd.grad(module(leaf).sum(), leaf)
    linear = (x * g[0]).sum(0).abs().numpy()
    exact = paper.exact_contribution(x.numpy(), activation)
    assert stats.spearmanr(linear.ravel(), exact.ravel()).statistic > agreement
