"""The histogram of a unit's answers, with the pictures made for it marked, as numbers for an SVG without a view box.

Across, everything is in percent, so that the chart is as wide as the page; up and down it is in pixels, and so is the
text, which stays as large on a phone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log10

from api.gallery.words import plural, value
from db.queries.answers import UnitAnswersView

PLOT_PIXELS = 150
MARK_PIXELS = 16
"""Each mark has its words on a line of its own above the plot."""
REACH = 2.0
"""A mark farther beyond the highest answer than this many times the answers' span stands at the edge."""
EDGE = 99.5
LEFT_PART = 30.0


@dataclass(frozen=True)
class Bar:
    """Images whose answers lie in one bin."""

    x: float
    width: float
    y: float
    height: float
    words: str  # "0.5 to 1.2"
    count: int


@dataclass(frozen=True)
class Mark:
    """The activation of a picture that was made for the unit."""

    x: float
    y: float  # of its words
    words: str
    before: bool  # its words end there, instead of beginning
    beyond: bool  # it lies farther out than is shown


@dataclass(frozen=True)
class Line:
    """A count, as a line across."""

    y: float
    words: str


@dataclass(frozen=True)
class Chart:
    """Everything to draw."""

    height: float
    baseline: float
    bars: list[Bar]
    lines: list[Line]
    rug: list[float]  # where the top images lie
    marks: list[Mark]
    lowest: str
    highest: str
    highest_x: float
    summary: str


def chart(answers: UnitAnswersView, made: Sequence[tuple[str, float]]) -> Chart | None:
    """The chart of a unit's answers with the pictures made for it, as (name, activation); None without answers."""
    bins = [(b.start, b.end, b.count) for b in answers.histogram if b.start is not None and b.end is not None]
    if not bins:
        return None
    scale = _Scale(bins[0][0], bins[-1][1], [activation for _, activation in made])
    top = MARK_PIXELS * len(made) + 6
    baseline = top + PLOT_PIXELS
    most = max(count for *_, count in bins)
    tallest = log10(1 + most)

    def tall(count: float) -> float:
        return round(PLOT_PIXELS * log10(1 + count) / tallest, 1)

    ends = answers.statistics
    return Chart(
        height=baseline + 34,
        baseline=baseline,
        bars=[
            Bar(
                x=scale.at(start),
                width=max(0.2, round(scale.at(end) - scale.at(start), 2)),
                y=baseline - tall(count),
                height=tall(count),
                words=f"{value(start)} to {value(end)}",
                count=count,
            )
            for start, end, count in bins
        ],
        lines=[Line(baseline - tall(10**n), f"{10**n:,}") for n in range(7) if 10**n <= most],
        rug=[scale.at(image.activation) for image in answers.images if image.activation is not None],
        # The rightmost has its words on top: words end at their line, so that no line runs through others' words.
        marks=[
            _mark(scale, place, name, activation)
            for place, (name, activation) in enumerate(sorted(made, key=lambda one: -one[1]))
        ],
        lowest=value(ends.lowest),
        highest=value(ends.highest),
        highest_x=scale.at(bins[-1][1] if ends.highest is None else ends.highest),
        summary=_summary(answers),
    )


class _Scale:
    """Activations -> percent across."""

    def __init__(self, lowest: float, highest: float, others: Sequence[float]) -> None:
        span = (highest - lowest) or 1.0
        self.low = max(min([lowest, *others]), lowest - REACH * span)
        self.high = min(max([highest, *others]), highest + REACH * span)
        self.span = (self.high - self.low) or 1.0

    def at(self, activation: float) -> float:
        share = (activation - self.low) / self.span
        return round(EDGE * min(1.0, max(0.0, share)), 2)

    def shows(self, activation: float) -> bool:
        return self.low <= activation <= self.high


def _mark(scale: _Scale, place: int, name: str, activation: float) -> Mark:
    x = scale.at(activation)
    beyond = not scale.shows(activation)
    words = f"{name} {value(activation)}" + (" →" if beyond and x else "")
    return Mark(x=x, y=MARK_PIXELS * (place + 1) - 3, words=words, before=x > LEFT_PART, beyond=beyond)


def _summary(answers: UnitAnswersView) -> str:
    numbers = answers.statistics
    return (
        f"How many of {plural(answers.probe.images, 'image')} the unit answers to how strongly, from"
        f" {value(numbers.lowest)} to {value(numbers.highest)}, {value(numbers.mean)} on average."
        " The counts are drawn logarithmically."
    )
