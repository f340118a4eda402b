import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from core import recipes
from core.errors import UnknownRecipe
from core.specs import FourierMethod, PixelMethod, Recipe


def test_table_1() -> None:
    rows = [
        (r.decay, r.blur_width, r.blur_every, r.norm_percentile, r.contribution_percentile)
        for r in (p.method for p in recipes.PUBLISHED)
    ]
    assert rows == [(0, 0.5, 4, 50, 0), (0.3, 0, 0, 20, 0), (0.0001, 1.0, 4, 0, 0), (0, 0.5, 4, 0, 90)]
    assert [p.steps for p in recipes.PUBLISHED] == [500, 750, 1000, 1000]


def test_an_atlas_shows_the_fourier_style_first_and_the_papers_four() -> None:
    assert [r.name for r in recipes.resolve([])] == ["fourier", "bold", "etched", "soft", "sparse"]


def test_names_are_not_part_of_the_hash_and_everything_else_is() -> None:
    base = Recipe()
    assert base.model_copy(update={"name": "x", "title": "y"}).content_hash() == base.content_hash()
    others = [
        Recipe(direction="silence"),
        Recipe(objective="channel"),
        Recipe(steps=101),
        Recipe(method=FourierMethod()),
        Recipe(method=PixelMethod(decay=0.1)),
        Recipe(method=PixelMethod(start="mean")),
    ]
    assert len({r.content_hash() for r in [base, *others]}) == len(others) + 1


def test_all_named_recipes_differ() -> None:
    hashes = [r.content_hash() for r in recipes.NAMED_RECIPES.values()]
    assert len(set(hashes)) == len(hashes)


@given(st.sampled_from(list(recipes.NAMED_RECIPES.values())), st.integers(1, 10_000))
def test_recipes_survive_json(recipe: Recipe, steps: int) -> None:
    recipe = recipe.model_copy(update={"steps": steps})
    again = Recipe.model_validate_json(recipe.model_dump_json())
    assert again == recipe
    assert again.content_hash() == recipe.content_hash()


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"steps": -5},
        {"method": {"method": "pixels", "blur_width": 0.2, "blur_every": 4}},
        {"method": {"method": "pixels", "blur_width": 1.0}},
        {"method": {"method": "pixels", "norm_percentile": 100}},
        {"method": {"method": "magic"}},
        {"surprise": 1},
    ],
)
def test_wrong_recipes_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Recipe.model_validate(wrong)


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(UnknownRecipe, match="fourier"):
        recipes.resolve(["furier"])
    with pytest.raises(UnknownRecipe, match="twice"):
        recipes.resolve(["bold", "bold"])
