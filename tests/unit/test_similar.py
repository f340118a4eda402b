"""Units that answer alike, against an exhaustive search."""

import numpy as np

from deepvis.similar import NO_NEIGHBOUR, nearest_columns


def _profile(images: int = 60, units: int = 300) -> np.ndarray:
    random = np.random.default_rng(0)
    kinds = random.standard_normal((images, 12))
    return (kinds @ random.standard_normal((12, units)) + 5).astype(np.float32)


def test_it_finds_what_an_exhaustive_search_does() -> None:
    profile = _profile()
    near = nearest_columns(profile, 8)
    exact = np.corrcoef(profile.T.astype(np.float64))
    np.fill_diagonal(exact, -2)
    expected = np.sort(exact, 1)[:, :-9:-1]
    np.testing.assert_allclose(near.correlations, expected, atol=1e-5)
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


def test_blocks_are_put_together_and_say_how_far_they_are() -> None:
    profile, seen = _profile(units=1200), []
    near = nearest_columns(profile, 3, seen.append)
    assert seen == sorted(seen)
    assert (len(seen), seen[-1]) == (3, 1)
    exact = np.corrcoef(profile.T.astype(np.float64))
    np.fill_diagonal(exact, -2)
    np.testing.assert_allclose(near.correlations[:, 0], exact.max(1), atol=1e-5)
    assert not np.any(near.units == np.arange(1200)[:, None])
