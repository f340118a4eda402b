"""The named recipes: the Fourier style, the paper's four (Table 1), and none."""

from collections.abc import Sequence

from core.errors import UnknownRecipe, nearest
from core.specs import ConstantStep, FourierMethod, NormalisedStep, PixelMethod, ProgressStep, Recipe

FOURIER = Recipe(name="fourier", title="Natural textures", steps=160, method=FourierMethod())
# Table 1's regularisers with the normalised step rule, which carries over between networks.
BOLD = Recipe(
    name="bold",
    title="Bold strokes",
    method=PixelMethod(blur_width=0.5, blur_every=4, norm_percentile=50),
)
ETCHED = Recipe(
    name="etched",
    title="Fine etching",
    method=PixelMethod(decay=0.3, norm_percentile=20, step=NormalisedStep(rms=16)),
)
SOFT = Recipe(
    name="soft",
    title="Soft shapes",
    method=PixelMethod(decay=0.0001, blur_width=1.0, blur_every=4),
)
SPARSE = Recipe(
    name="sparse",
    title="Sparse highlights",
    method=PixelMethod(blur_width=0.5, blur_every=4, contribution_percentile=90),
)
RAW = Recipe(name="raw", title="No regularisation", method=PixelMethod())


def _as_published(recipe: Recipe, steps: int, step: ConstantStep | ProgressStep) -> Recipe:
    method = recipe.method.model_copy(update={"step": step})
    update = {"name": f"{recipe.name}.2015", "title": f"{recipe.title}, as published", "steps": steps, "method": method}
    return recipe.model_copy(update=update)


# Table 1 to the letter, with the toolbox's own step sizes: for the paper's own network.
PUBLISHED = (
    _as_published(BOLD, 500, ProgressStep(desired=2, max_rate=100)),
    _as_published(ETCHED, 750, ConstantStep(rate=100)),
    _as_published(SOFT, 1000, ConstantStep(rate=100)),
    _as_published(SPARSE, 1000, ProgressStep(desired=2, max_rate=1e8)),
)

DEFAULT_RECIPES = (FOURIER, BOLD, ETCHED, SOFT, SPARSE)
"""What an atlas makes unless told otherwise; the first is the one that thumbnails show."""


def silencing(recipe: Recipe) -> Recipe:
    """The same recipe in the other direction: what silences the unit most."""
    update = {"name": f"{recipe.name}.silence", "title": f"{recipe.title}, silencing", "direction": "silence"}
    return recipe.model_copy(update=update)


_EXCITING = (*DEFAULT_RECIPES, RAW, *PUBLISHED)
NAMED_RECIPES: dict[str, Recipe] = {r.name: r for e in _EXCITING for r in (e, silencing(e))}


def resolve(names: Sequence[str | Recipe], steps: int | None = None) -> tuple[Recipe, ...]:
    """Recipes by name (or given whole), each with `steps` steps if that is not None; none named means the default five.

    Raises:
        UnknownRecipe: a name is not in `NAMED_RECIPES`, or two of the recipes are the same.
    """
    recipes = [_find(name) if isinstance(name, str) else name for name in names] or list(DEFAULT_RECIPES)
    if steps is not None:
        recipes = [Recipe.model_validate({**r.model_dump(), "steps": steps}) for r in recipes]
    if len({r.content_hash() for r in recipes}) < len(recipes):
        raise UnknownRecipe("A recipe is named twice.", "Name each recipe once.")
    return tuple(recipes)


def _find(name: str) -> Recipe:
    if name not in NAMED_RECIPES:
        raise UnknownRecipe(f"There is no recipe named {name!r}.", nearest(name, NAMED_RECIPES))
    return NAMED_RECIPES[name]
