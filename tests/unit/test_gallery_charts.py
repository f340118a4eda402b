"""The histogram of a unit's answers: where bars and marks stand, and what is said of pictures that go beyond them."""

from math import log10

import pytest

from api.gallery.answers import _compared
from api.gallery.charts import EDGE, PLOT_PIXELS, chart
from core.specs import LayerInfo, Side
from db.queries.answers import Bin, Statistics, TopItem, UnitAnswersView
from db.queries.passes import PassItem
from tests.integration.records import layer

BINS = ((-1.0, 0.0, 7), (0.0, 2.0, 999), (8.0, 10.0, 1))


def answers(bins=BINS, highest: float | None = 10.0) -> UnitAnswersView:
    probe = PassItem(
        id=1, network="n", set="s", set_id="i", atlas="a", images=1007, labels=0, top=1, lowest=False, backward=(),
        merged_at=None,
    )  # fmt: skip
    numbers = Statistics(
        mean=1.0, deviation=1.0, lowest=-1.0, highest=highest, active=0.9, sparseness=0.5, selectivity=None, dead=False
    )
    top = TopItem(
        side=Side.TOP, rank=0, image=3, name="x.png", label=None, width=8, height=8, activation=10.0, position=None,
        box=None,
    )  # fmt: skip
    info: LayerInfo = layer("conv", 0, 6)
    return UnitAnswersView(
        probe=probe, layer=info, unit=0, address="conv:0", label=None, statistics=numbers,
        histogram=tuple(Bin(start=a, end=b, count=n) for a, b, n in bins), labels=(), images=(top,), views=(),
        similar=(),
    )  # fmt: skip


def test_bars_stand_side_by_side_and_are_as_high_as_the_logarithm_of_their_count() -> None:
    drawn = chart(answers(), [])
    assert drawn is not None
    first, second, third = drawn.bars
    assert first.x == 0
    assert first.x + first.width == pytest.approx(second.x, abs=0.02)
    assert third.x + third.width == pytest.approx(EDGE, abs=0.02)
    assert second.width == pytest.approx(2 * first.width, abs=0.05)
    assert second.height == PLOT_PIXELS
    for bar in drawn.bars:
        assert bar.height == pytest.approx(PLOT_PIXELS * log10(1 + bar.count) / 3, abs=0.1)
        assert bar.y + bar.height == pytest.approx(drawn.baseline)
    assert [line.words for line in drawn.lines] == ["1", "10", "100"]
    assert drawn.rug == [pytest.approx(EDGE)]


def test_marks_stand_where_they_belong_the_rightmost_on_top() -> None:
    drawn = chart(answers(), [("weak", 4.5), ("strong", 21.0), ("far", 1000.0), ("below", -50.0)])
    assert drawn is not None
    assert [mark.words for mark in drawn.marks] == ["far 1,000 →", "strong 21.0", "weak 4.50", "below -50.0"]
    far, strong, weak, below = drawn.marks
    assert (far.x, far.beyond) == (EDGE, True)
    assert (below.x, below.beyond) == (0, True)
    assert not strong.beyond
    assert below.x < weak.x < strong.x < far.x
    assert far.before
    assert not below.before
    ys = [mark.y for mark in drawn.marks]
    assert ys == sorted(ys)
    assert max(ys) < drawn.baseline - PLOT_PIXELS


def test_a_unit_that_gives_one_answer_to_all_has_a_bar() -> None:
    drawn = chart(answers(((0.0, 0.0, 40),)), [("a", 0.0)])
    assert drawn is not None
    assert drawn.bars[0].width > 0
    assert chart(answers(()), []) is None


@pytest.mark.parametrize(
    ("highest", "activation", "words"),
    [
        (10.0, 23.0, "Bold reaches 2.30 times the highest real image."),
        (10.0, 10.2, "Bold reaches as far as the highest real image."),
        (10.0, 4.0, "Bold stays below: 40 % of the highest real image."),
        (10.0, -3.0, "Bold stays below: 0 % of the highest real image."),
        (-2.0, 3.0, "Bold reaches 3.00, more than the highest real image (-2.00)."),
        (0.0, 0.0, "Bold reaches 0.000, no more than the highest real image (0.000)."),
        (None, 3.0, "Bold reaches 3.00."),
    ],
)
def test_how_a_picture_compares_is_said(highest: float | None, activation: float, words: str) -> None:
    assert _compared("Bold", activation, answers(highest=highest)) == words
