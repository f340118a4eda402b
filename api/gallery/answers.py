"""What the page of a unit says of real images: crops, backward views, the whole image, statistics, similar units."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from api.gallery import addresses
from api.gallery.charts import Chart, chart
from api.gallery.styles import Choice
from api.gallery.units import UnitPage
from api.gallery.words import VIEWS, exact_percent, value
from core.specs import Side
from db.queries.answers import SimilarItem, Statistics, TopItem, UnitAnswersView, ViewItem
from db.queries.passes import PassItem

IN_A_ROW = 9
CRISP_PIXELS = 64
"""A smaller crop is enlarged without smoothing: its pixels are what the unit sees."""
TITLES = {Side.TOP: "What it answers to most", Side.LOWEST: "What it answers to least"}


@dataclass(frozen=True)
class Cut:
    """One of the pictures in a picture of many: a view box in it."""

    address: str
    view_box: str
    width: int  # of the picture of many
    height: int
    crisp: bool
    alt: str


@dataclass(frozen=True)
class Seen:
    """A real image as a unit sees it: the crop and its backward views, None where one is not defined."""

    rank: int
    name: str  # the last part of its path
    path: str
    label: str | None
    activation: str
    address: str  # of the page with the whole image open
    chosen: bool
    cuts: list[Cut | None]
    small: str  # the whole image, small: shown while there is no crop


@dataclass(frozen=True)
class Row:
    """Up to nine images beside each other."""

    title: str
    seen: list[Seen]


@dataclass(frozen=True)
class Whole:
    """A whole image, with what the crop shows of it outlined."""

    item: TopItem
    address: str
    file: str
    close: str
    words: str
    alt: str


@dataclass(frozen=True)
class Bar:
    """A preferred label; `share` 0..1 of the strongest effect."""

    label: str
    share: float
    words: str
    address: str


@dataclass(frozen=True)
class Similar:
    """A unit that answers much alike."""

    item: SimilarItem
    address: str
    words: str


@dataclass(frozen=True)
class AnswersPart:
    """Everything of a unit's page that is about real images."""

    probe: PassItem
    set_address: str
    sets: list[Choice]
    kinds: list[str]  # of views, in the order of every image's cuts
    rows: list[Row]
    missing: list[str]  # why views are not there
    dead: bool  # it answers to no image
    pending: bool  # crops and views are still to be made
    whole: Whole | None
    chart: Chart | None
    made: list[str]  # how pictures made for the unit compare
    numbers: list[tuple[str, str, str]]  # (term, value, what it means)
    labels: list[Bar]
    similar: list[Similar]


def answers_part(
    answers: UnitAnswersView, passes: Sequence[PassItem], page: UnitPage | None, asked: Mapping[str, str]
) -> AnswersPart:
    """The part about real images, beside the pictures of `page`; `asked` is the address's query."""
    here = _Here(answers, asked)
    kinds = [kind for kind in VIEWS if any(view.kind == kind and view.blob for view in answers.views)]
    made = _made(page)
    return AnswersPart(
        probe=answers.probe,
        set_address=addresses.probe_set(answers.probe.set),
        sets=[Choice(each.set, here.at(set=each.set), each.id == answers.probe.id) for each in passes],
        kinds=[VIEWS[kind] for kind in kinds],
        rows=_rows(answers, kinds, here),
        missing=list(dict.fromkeys(view.why for view in answers.views if view.blob is None and view.why)),
        dead=answers.statistics.dead,
        pending=not answers.views,
        whole=_whole(answers, here),
        chart=chart(answers, made),
        made=[_compared(name, activation, answers) for name, activation in made],
        numbers=_numbers(answers.statistics),
        labels=_labels(answers),
        similar=[_similar(answers, item, asked) for item in answers.similar],
    )


class _Here:
    """Addresses of the same unit, seen a little differently."""

    def __init__(self, answers: UnitAnswersView, asked: Mapping[str, str]) -> None:
        self.unit = (answers.probe.network, answers.layer.name, answers.unit)
        self.set_id = answers.probe.set_id
        self.asked = {name: asked.get(name, "") for name in ("recipe", "seed", "set")}
        self.open = asked.get("open", "")

    def at(self, **changes: str) -> str:
        return addresses.unit(*self.unit, **{**self.asked, **changes})


# --- images --------------------------------------------------------------------------------------


def _rows(answers: UnitAnswersView, kinds: Sequence[str], here: _Here) -> list[Row]:
    views = {(view.side, view.kind): view for view in answers.views}
    rows = []
    for side in Side:
        images = [image for image in answers.images if image.side == side]
        shown = [views.get((side, kind)) for kind in kinds]
        seen = [_seen(image, shown, here) for image in images]
        parts = [seen[start : start + IN_A_ROW] for start in range(0, len(seen), IN_A_ROW)]
        rows += [Row(TITLES[side] if place == 0 else "", part) for place, part in enumerate(parts)]
    return rows


def _seen(image: TopItem, views: Sequence[ViewItem | None], here: _Here) -> Seen:
    word = f"{image.side}-{image.rank}"
    return Seen(
        rank=image.rank + 1,
        name=image.name.rpartition("/")[2],
        path=image.name,
        label=image.label,
        activation=value(image.activation),
        address=here.at(open=word) + "#whole",
        chosen=here.open == word,
        cuts=[_cut(view, image) for view in views],
        small=addresses.probe_thumbnail(here.set_id, image.image),
    )


def _cut(view: ViewItem | None, image: TopItem) -> Cut | None:
    if view is None or view.blob is None or image.rank >= view.count:
        return None
    row, column = divmod(image.rank, view.columns)
    rows = -(-view.count // view.columns)
    what = "Crop" if view.kind == "crop" else f"{VIEWS[view.kind]} of the crop"
    return Cut(
        address=f"/views/{view.blob}.webp",
        view_box=f"{column * view.width} {row * view.height} {view.width} {view.height}",
        width=view.width * min(view.columns, view.count),
        height=view.height * rows,
        crisp=view.width < CRISP_PIXELS,
        alt=f"{what} of {image.name}" + (f" ({image.label})" if image.label else ""),
    )


def _whole(answers: UnitAnswersView, here: _Here) -> Whole | None:
    """The image that the address asks to open."""
    item = next((image for image in answers.images if f"{image.side}-{image.rank}" == here.open), None)
    if item is None:
        return None
    named = f" ({item.label})" if item.label else ""
    outlined = ", with what the unit sees of it outlined" if item.box else ""
    return Whole(
        item=item,
        address=here.at(open=here.open),
        file=addresses.probe_image(answers.probe.set_id, item.image),
        close=here.at() + "#real",
        words=f"answer {value(item.activation)}" + (f", at {_place(item)}" if item.position else ""),
        alt=f"The whole image {item.name}{named}{outlined}",
    )


def _place(item: TopItem) -> str:
    names = ("row", "column") if len(item.position or ()) == 2 else ("position",)
    return ", ".join(f"{name} {number}" for name, number in zip(names, item.position or (), strict=False))


# --- numbers ---------------------------------------------------------------------------------------


def _made(page: UnitPage | None) -> list[tuple[str, float]]:
    """Name and activation of the pictures made for the unit: those that are shown, which excite it."""
    found = []
    for column in page.styles if page else ():
        picture = column.big.picture
        if picture and picture.activation is not None and picture.recipe.direction != "silence":
            found.append((column.title, picture.activation))
    return found


def _compared(name: str, activation: float, answers: UnitAnswersView) -> str:
    """How far a picture goes beyond what real images do."""
    highest = answers.statistics.highest
    if highest is None:
        return f"{name} reaches {value(activation)}."
    if highest <= 0:
        beyond = "more than" if activation > highest else "no more than"
        return f"{name} reaches {value(activation)}, {beyond} the highest real image ({value(highest)})."
    times = activation / highest
    if times >= 1.05:
        return f"{name} reaches {value(times)} times the highest real image."
    if times >= 0.95:
        return f"{name} reaches as far as the highest real image."
    return f"{name} stays below: {exact_percent(max(0.0, times))} of the highest real image."


def _numbers(numbers: Statistics) -> list[tuple[str, str, str]]:
    rows = [
        ("Mean answer", value(numbers.mean), "over all images"),
        ("Deviation", value(numbers.deviation), "standard deviation of the answers"),
        ("Lowest to highest", f"{value(numbers.lowest)} to {value(numbers.highest)}", ""),
        ("Active", _share(numbers.active), "images with an answer above 0"),
        ("Sparseness", _share(numbers.sparseness), "0 %: all images alike; 100 %: one image alone"),
        ("Selectivity", _share(numbers.selectivity), "how well its best label is told from the rest"),
    ]
    return [(term, words, meaning) for term, words, meaning in rows if words]


def _share(number: float | None) -> str:
    return "" if number is None else exact_percent(number)


def _labels(answers: UnitAnswersView) -> list[Bar]:
    effects = [label.effect or 0.0 for label in answers.labels]
    most = max([abs(effect) for effect in effects], default=0.0) or 1.0
    return [
        Bar(
            label=label.label,
            share=round(max(0.0, effect) / most, 3),
            words=f"{effect:+.2f} deviations, mean {value(label.mean)}",
            address=addresses.search(answers.probe.network, label=label.label, set=answers.probe.set),
        )
        for label, effect in zip(answers.labels, effects, strict=True)
    ]


def _similar(answers: UnitAnswersView, item: SimilarItem, asked: Mapping[str, str]) -> Similar:
    address = addresses.unit(answers.probe.network, item.layer, item.unit, set=asked.get("set", ""))
    return Similar(item, address, f"correlation {item.correlation:.2f}" if item.correlation is not None else "")
