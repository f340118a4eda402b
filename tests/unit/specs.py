"""Hypothesis strategies for specifications: any valid one, and the values that its fields may take."""

from typing import Any

from hypothesis import strategies as st

from core.specs import (
    MAX_STEPS,
    ConstantStep,
    FourierMethod,
    NormalisedStep,
    PixelMethod,
    Progress01Step,
    ProgressStep,
    Recipe,
)


def _to(most: float, *, zero: bool = False) -> st.SearchStrategy[float]:
    """Numbers up to `most`, above 0 or from it; among them the ends."""
    return st.floats(0, most, exclude_min=not zero) | st.sampled_from([0.0, most] if zero else [5e-324, most])


_below = {"allow_nan": False, "exclude_max": True}
RATES, WIDE, UNIT = _to(1e9), _to(1e12), _to(1)

STEP_RULES = st.one_of(
    st.builds(ConstantStep, rate=RATES),
    st.builds(ProgressStep, desired=RATES, max_rate=WIDE),
    st.builds(Progress01Step, early=UNIT, late_multiple=UNIT, max_rate=WIDE),
    st.builds(NormalisedStep, rms=_to(255), anneal=st.booleans()),
)
PERCENTILES = st.floats(0, 100, **_below)
BLURS = st.just((0.0, 0)) | st.tuples(st.floats(0.3, 32), st.integers(1, 1000))


@st.composite
def pixel_methods(draw: st.DrawFn) -> PixelMethod:
    """Any ascent on pixels."""
    width, every = draw(BLURS)
    return PixelMethod(
        start=draw(st.sampled_from(["noise", "uniform", "mean"])),
        step=draw(STEP_RULES),
        decay=draw(st.floats(0, 1, **_below)),
        blur_width=width,
        blur_every=every,
        norm_percentile=draw(PERCENTILES),
        contribution_percentile=draw(PERCENTILES),
        value_percentile=draw(PERCENTILES),
        benefit_percentile=draw(PERCENTILES),
        clamp=draw(st.booleans()),
    )


FOURIER_METHODS = st.builds(
    FourierMethod,
    learning_rate=_to(10),
    spectrum_power=_to(4, zero=True),
    spectrum_scale=_to(100),
    start_deviation=_to(10),
    shift=_to(0.5, zero=True),
    rotation_degrees=_to(180, zero=True),
    scale=_to(0.5, zero=True),
)
NAMES = st.from_regex(r"\A[a-z][a-z0-9.-]{0,63}\Z")
TITLES = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)
RECIPES = st.builds(
    Recipe,
    name=NAMES,
    title=TITLES,
    direction=st.sampled_from(["excite", "silence"]),
    objective=st.sampled_from(["centre", "channel"]),
    steps=st.integers(1, MAX_STEPS),
    method=pixel_methods() | FOURIER_METHODS,
)
JSON_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
"""What a JSON body can hold; Python's reader also knows NaN and infinities."""


def differing(value: Any) -> st.SearchStrategy[Any]:
    """Another value of the kind of `value`; not all of them are valid where that one was."""
    if isinstance(value, bool):
        return st.just(not value)
    near = {int: st.integers(1, 1000), float: st.floats(0, 1), str: st.sampled_from(WORDS)}
    return near[type(value)].filter(lambda other: other != value)


WORDS = ("noise", "uniform", "mean", "excite", "silence", "centre", "channel")
