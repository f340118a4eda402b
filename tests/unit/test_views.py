"""Backward views as pictures."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from deepvis.views import FILTERS, render_view


def _view(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((3, 20, 24)).astype(np.float32)


def test_raw_is_centred_and_symmetric() -> None:
    view = _view()
    view[:, 0] = 0
    raw, turned = render_view(view).astype(int), render_view(-view).astype(int)
    assert raw.shape == (20, 24, 3)
    assert np.all(raw[0] == 128)
    assert raw.min() == 0
    assert raw.max() == 255
    assert np.abs(raw + turned - 255).max() <= 1
    assert np.array_equal(render_view(1e-6 * view), render_view(view))


def test_a_single_strong_pixel_does_not_hide_the_rest() -> None:
    view = _view()
    plain = render_view(view).astype(int)
    view[0, 5, 5] = 1e4
    assert np.abs(render_view(view).astype(int) - plain).mean() < 3


def test_norm_is_where_the_signal_is() -> None:
    view = _view()
    norm = np.sqrt((view.astype(np.float64) ** 2).sum(0))
    expected = 255 * (norm - norm.min()) / (norm.max() - norm.min())
    assert render_view(view, "norm")[..., 0] == pytest.approx(expected, abs=1)
    blurred = gaussian_filter(norm, 4)
    expected = 255 * (blurred - blurred.min()) / (blurred.max() - blurred.min())
    assert render_view(view, "blurred norm")[..., 0] == pytest.approx(expected, abs=2)


@pytest.mark.parametrize("how", FILTERS)
def test_no_signal_is_flat(how) -> None:
    picture = render_view(np.zeros((3, 4, 5), np.float32), how)
    assert picture.shape == (4, 5, 3 if how == "raw" else 1)
    assert set(picture.flatten()) == {128 if how in ("raw", "gray") else 0}
