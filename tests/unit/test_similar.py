"""Units that answer alike, against an exhaustive search."""

import numpy as np
import torch

from deepvis.counting import RunningRanking, RunningSums
from deepvis.similar import NO_NEIGHBOUR, nearest_columns, similar_units
from deepvis.tallies import Tally


def _profile(images: int = 60, units: int = 300) -> np.ndarray:
    random = np.random.default_rng(0)
    kinds = random.standard_normal((images, 12))
    return (kinds @ random.standard_normal((12, units)) + 5).astype(np.float32)


def test_the_index_finds_what_an_exhaustive_search_does() -> None:
    profile = _profile()
    near = nearest_columns(profile, 8)
    exact = np.corrcoef(profile.T.astype(np.float64))
    np.fill_diagonal(exact, -2)
    expected = np.sort(exact, 1)[:, :-9:-1]
    assert np.mean(np.abs(near.correlations - expected) < 1e-5) > 0.99
    np.testing.assert_allclose(near.correlations, np.take_along_axis(exact, near.units, 1), atol=1e-5)
    assert np.all(np.diff(near.correlations, axis=1) <= 1e-6)


def test_scale_and_offset_do_not_matter_and_the_sign_does() -> None:
    profile = _profile(units=3)
    columns = np.stack([profile[:, 0], 100 * profile[:, 0] - 7, -profile[:, 0], profile[:, 1]], 1)
    near = nearest_columns(columns, 3)
    assert near.units[0, 0] == 1
    assert near.units[0, -1] == 2
    np.testing.assert_allclose(near.correlations[0, [0, 2]], [1, -1], atol=1e-5)


def test_constant_units_have_none_and_are_none() -> None:
    profile = _profile(units=4)
    profile[:, 1] = 0.1
    near = nearest_columns(profile, 5)
    assert np.all(near.units[1] == NO_NEIGHBOUR)
    assert not np.any(near.units == 1)
    assert [(row != NO_NEIGHBOUR).sum() for row in near.units] == [2, 0, 2, 2]
    assert np.all(nearest_columns(profile[:1], 2).units == NO_NEIGHBOUR)
    assert nearest_columns(profile[:0], 2).units.shape == (4, 2)


def test_answers_that_are_not_finite_say_nothing() -> None:
    profile = _profile(units=6)
    profile[:, 5] = profile[:, 0]
    profile[3, 5] = np.nan
    assert nearest_columns(profile, 1).units[5, 0] == 0


def test_the_same_profile_gives_the_same_neighbours() -> None:
    first, second = (nearest_columns(_profile(), 6) for _ in range(2))
    assert np.array_equal(first.units, second.units)


def test_torch_computes_beside_the_index() -> None:
    x = torch.randn(64, 64)
    before = (x @ x).sum()
    nearest_columns(_profile(), 3)
    assert torch.equal((x @ x).sum(), before)


def _tally(profile: np.ndarray) -> Tally:
    units, cpu = profile.shape[1], torch.device("cpu")
    return Tally(
        ranges=np.array([[0, len(profile)]]),
        top=RunningRanking(units, 1, cpu, 1).ranking(),
        low=None,
        sample=np.arange(len(profile)),
        profile=profile,
        **RunningSums(units, cpu).numpy(),
    )


def test_neighbours_are_named_across_layers() -> None:
    profile = _profile(units=5)
    profile[:, 4] = 2 * profile[:, 0]
    similar = similar_units({"a": _tally(profile[:, :2]), "b": _tally(profile[:, 2:])}, 2)
    assert [len(units) for units in similar.values()] == [2, 3]
    first = similar["a"][0][0]
    assert (first.layer, first.unit) == ("b", 2)
    assert (similar["b"][2][0].layer, similar["b"][2][0].unit) == ("a", 0)
