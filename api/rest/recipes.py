"""The named recipes."""

from apiflask import APIBlueprint
from pydantic import BaseModel, Field

from core.errors import NotFound, nearest
from core.recipes import DEFAULT_RECIPES, NAMED_RECIPES
from core.specs import Recipe

blueprint = APIBlueprint("recipes", __name__, url_prefix="/api/v1/recipes", tag="Recipes")


class NamedRecipe(BaseModel):
    """A recipe that can be asked for by name."""

    name: str
    title: str = Field(description="Its plain-language name")
    hash: str = Field(description="Sixteen hex digits that identify all that changes the picture")
    default: bool = Field(description="Whether an atlas makes it unless told otherwise")
    recipe: Recipe = Field(description="The whole recipe, ready to be changed and sent with an atlas")


class RecipeList(BaseModel):
    """Every named recipe."""

    items: list[NamedRecipe]


@blueprint.get("")
@blueprint.output(RecipeList)
def list_recipes() -> RecipeList:
    """The named recipes, the default ones first."""
    return RecipeList(items=[_named(recipe) for recipe in NAMED_RECIPES.values()])


@blueprint.get("/<recipe>")
@blueprint.output(NamedRecipe)
def show_recipe(recipe: str) -> NamedRecipe:
    """One named recipe."""
    if recipe not in NAMED_RECIPES:
        raise NotFound(f"There is no recipe named {recipe!r}.", nearest(recipe, NAMED_RECIPES))
    return _named(NAMED_RECIPES[recipe])


def _named(recipe: Recipe) -> NamedRecipe:
    return NamedRecipe(
        name=recipe.name,
        title=recipe.title,
        hash=recipe.content_hash(),
        default=recipe in DEFAULT_RECIPES,
        recipe=recipe,
    )
