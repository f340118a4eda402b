"""Recipes as a visitor chooses between them: "styles", each with a word for the address."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from db.queries.recipes import RecipeItem


@dataclass(frozen=True)
class Style:
    """A recipe that there are pictures of. `word` names it in addresses: its name, or its hash where names clash."""

    hash: str
    word: str
    title: str
    steps: int


@dataclass(frozen=True)
class Choice:
    """One of a row of links."""

    words: str
    address: str
    chosen: bool


def styles_of(recipes: Sequence[RecipeItem]) -> list[Style]:
    """The styles of these recipes, in their order; of one name the first keeps the name, and all tell their steps."""
    names = [recipe.name for recipe in recipes]
    return [
        Style(
            hash=recipe.hash,
            word=recipe.name if names.index(recipe.name) == place else recipe.hash,
            title=_title(recipe, clashes=names.count(recipe.name) > 1),
            steps=recipe.steps,
        )
        for place, recipe in enumerate(recipes)
    ]


def choose(styles: Sequence[Style], asked: str) -> Style | None:
    """The style of that word or hash, else the first: a link from a page that has it to one that has it not holds."""
    matching = (style for style in styles if asked in (style.word, style.hash))
    return next(matching, styles[0] if styles else None)


def choices(styles: Sequence[Style], chosen: Style | None, address: Callable[[str], str]) -> list[Choice]:
    """A row of links to the styles; `address` makes the address of a style's word."""
    return [Choice(style.title, address(style.word), style == chosen) for style in styles]


def _title(recipe: RecipeItem, *, clashes: bool) -> str:
    title = recipe.title or recipe.name
    return f"{title} ({recipe.steps} steps)" if clashes else title
