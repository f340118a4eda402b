"""What the page of a unit says: its styles side by side, its seeds, one picture up close, and how it was made."""

from dataclasses import dataclass
from datetime import UTC

from api.gallery import addresses
from api.gallery.styles import Style, choose, styles_of
from api.gallery.words import EMPTY_PICTURES, Address, alt, first_name, recipe_words, seconds, value
from core.specs import LayerInfo, Recipe
from db.queries.pictures import PictureView
from db.queries.units import UnitView

CLOSE_UP_PIXELS = 336
"""A picture up close is enlarged by the largest whole factor that fits this: it also fits a phone."""


@dataclass(frozen=True)
class Framed:
    """A picture (or the want of one) that can be chosen."""

    seed: int
    words: str
    address: str
    chosen: bool
    picture: PictureView | None
    alt: str


@dataclass(frozen=True)
class Column:
    """A style: its picture of the chosen seed, and those of every seed."""

    title: str
    big: Framed
    starts: list[Framed]


@dataclass(frozen=True)
class Neighbour:
    """Where an arrow key leads."""

    name: str
    address: str


@dataclass(frozen=True)
class UnitPage:
    """Everything on the page of a unit that has pictures."""

    style: Style
    seed: int
    styles: list[Column]
    picture: PictureView | None
    alt: str
    scale: int
    permalink: str


def unit_page(unit: UnitView, asked_style: str, asked_seed: int) -> UnitPage | None:
    """The page with one style and seed chosen; None while the unit has no pictures."""
    styles = styles_of([group.recipe for group in unit.recipes])
    style = choose(styles, asked_style)
    if style is None:
        return None
    pictures = {(p.recipe.hash, p.seed): p for group in unit.recipes for p in group.pictures}
    seeds = sorted({seed for _, seed in pictures})
    seed = asked_seed if asked_seed in seeds else seeds[0]

    def framed(one: Style, number: int) -> Framed:
        chosen = (one, number) == (style, seed)
        return _framed(unit, one, number, pictures.get((one.hash, number)), chosen=chosen)

    picture = pictures.get((style.hash, seed))
    return UnitPage(
        style=style,
        seed=seed,
        styles=[Column(one.title, framed(one, seed), [framed(one, n) for n in seeds]) for one in styles],
        picture=picture,
        alt=_alt(unit, style, seed),
        scale=max(1, CLOSE_UP_PIXELS // max(picture.width, picture.height)) if picture else 1,
        permalink=_address(unit, style.word, seed),
    )


def _framed(unit: UnitView, style: Style, seed: int, picture: PictureView | None, *, chosen: bool) -> Framed:
    address = _address(unit, style.word, seed)
    return Framed(seed, _reached(picture, style), address, chosen, picture, _alt(unit, style, seed))


def _alt(unit: UnitView, style: Style, seed: int) -> str:
    return alt(Address(unit.network, unit.layer.name, unit.unit), style.title, seed, unit.label)


def _address(unit: UnitView, style: str, seed: int) -> str:
    return addresses.unit(unit.network, unit.layer.name, unit.unit, recipe=style, seed=seed)


def _reached(picture: PictureView | None, style: Style) -> str:
    if picture is None:
        return "not made yet"
    if picture.state in EMPTY_PICTURES:
        return EMPTY_PICTURES[picture.state][0]
    return f"activation {value(picture.activation)}, step {picture.best_step} of {style.steps}"


def provenance(picture: PictureView, recipe: Recipe) -> list[tuple[str, str]]:
    """How a picture came about, as (term, words)."""
    made = picture.created_at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    rows = [
        ("Activation reached", value(picture.activation) if picture.activation is not None else ""),
        ("Best step", f"{picture.best_step} of {recipe.steps}" if picture.best_step is not None else ""),
        ("Strongest in its layer from", f"step {picture.strongest_step}" if picture.strongest_step is not None else ""),
        ("Computing time", seconds(picture.seconds)),
        ("Seed", str(picture.seed)),
        ("Style", f"{recipe.title or recipe.name} (recipe {recipe.name}, {recipe.content_hash()})"),
        ("Settings", "; ".join(recipe_words(recipe))),
        ("Device", f"{picture.device}, {picture.precision}"),
        ("Made with", f"deepvis {picture.library_version}, {made}"),
        ("Weights", picture.weights_hash),
    ]
    return [(term, words) for term, words in rows if words]


def beside(unit: UnitView, number: int | None, style: str, seed: int | None) -> Neighbour | None:
    """The unit of that number in the same layer, seen the same way."""
    if number is None:
        return None
    return Neighbour(f"unit {number}", addresses.unit(unit.network, unit.layer.name, number, recipe=style, seed=seed))


def across(unit: UnitView, layer: LayerInfo | None, style: str, seed: int | None) -> Neighbour | None:
    """The unit of the same number (or the last there is) in another layer."""
    if layer is None:
        return None
    number = min(unit.unit, layer.units - 1)
    address = addresses.unit(unit.network, layer.name, number, recipe=style, seed=seed)
    return Neighbour(layer.name, address)


def heading(unit: UnitView) -> str:
    """The short name of a unit in a title."""
    return f"{unit.address} {first_name(unit.label)}" if unit.label else unit.address
