"""Which recipes have pictures, in the order in which people are shown them."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import UnknownRecipe
from core.recipes import DEFAULT_RECIPES
from core.specs import Recipe as RecipeSpec
from db import networks
from db.models import Layer, Network, Picture, Recipe
from db.queries.paging import View

_ORDER = {recipe.name: place for place, recipe in enumerate(DEFAULT_RECIPES)}


class RecipeItem(View):
    """A recipe that some picture was made with."""

    hash: str
    name: str
    title: str
    steps: int
    direction: str


def recipe_item(recipe: Recipe) -> RecipeItem:
    """The recipe of a row."""
    spec = recipe.spec
    return RecipeItem(
        hash=recipe.hash, name=recipe.name, title=recipe.title, steps=spec["steps"], direction=spec["direction"]
    )


def shown_order(recipe: RecipeItem) -> tuple[int, str, int, str]:
    """Sort key: the default five first, then by name; of one name the one with the most steps first."""
    return _ORDER.get(recipe.name, len(_ORDER)), recipe.name, -recipe.steps, recipe.hash


def recipes_of_layers(session: Session, layer_ids: Sequence[int]) -> dict[int, list[RecipeItem]]:
    """The recipes that each layer has pictures of, in the order shown; answered from an index."""
    picture = select(Picture.id).where(Picture.layer_id == Layer.id, Picture.recipe_hash == Recipe.hash)
    # LIMIT 1 and not EXISTS: PostgreSQL could turn that into a join over every picture there is. And in the index's
    # order: where it knows little of a table that grows, it would look for the one picture in the whole of it.
    first = picture.order_by(Picture.seed, Picture.unit).limit(1)
    pictured = first.correlate(Layer, Recipe).scalar_subquery().is_not(None)
    pairs = select(Layer.id, Recipe.hash).join_from(Layer, Recipe, pictured).where(Layer.id.in_(layer_ids))
    found: dict[int, set[str]] = {layer_id: set() for layer_id in layer_ids}
    for layer_id, recipe_hash in session.execute(pairs):
        found[layer_id].add(recipe_hash)
    recipes = session.scalars(select(Recipe).where(Recipe.hash.in_(set().union(*found.values()))))
    ordered = sorted(map(recipe_item, recipes), key=shown_order)
    return {layer_id: [recipe for recipe in ordered if recipe.hash in have] for layer_id, have in found.items()}


def recipes_of_network(session: Session, network: str) -> dict[str, list[RecipeItem]]:
    """The recipes that each layer of a network has pictures of, by the layer's name, in forward order.

    Raises:
        UnknownNetwork: there is no such network.
    """
    of_it = select(Layer.id, Layer.name).join(Network).where(Network.name == network).order_by(Layer.order)
    names = {row.id: row.name for row in session.execute(of_it)}
    if not names:
        networks.find(session, network)
    found = recipes_of_layers(session, list(names))
    return {name: found[layer_id] for layer_id, name in names.items()}


def get_recipe(session: Session, recipe_hash: str) -> RecipeSpec:
    """The whole recipe of that content hash.

    Raises:
        UnknownRecipe: no atlas has used it.
    """
    recipe = session.get(Recipe, recipe_hash)
    if recipe is None:
        raise UnknownRecipe(f"There is no recipe {recipe_hash!r}.", "See the recipes of a layer for theirs.")
    return RecipeSpec.model_validate(recipe.spec)


def choose_recipe(recipes: Sequence[RecipeItem], wanted: str | None) -> RecipeItem | None:
    """The recipe of that hash or name (the first of a name), else the first; None if there are none to choose from.

    Raises:
        UnknownRecipe: the one wanted is not among them.
    """
    if wanted is None:
        return recipes[0] if recipes else None
    for recipe in recipes:
        if wanted in {recipe.hash, recipe.name}:
            return recipe
    have = ", ".join(f"{r.name} ({r.hash})" for r in recipes) or "none yet"
    raise UnknownRecipe(f"The layer has no pictures of a recipe {wanted!r}.", f"It has: {have}.")
