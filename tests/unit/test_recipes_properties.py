"""Any recipe: its hash depends on all that changes the picture and on nothing else; what is no recipe is refused."""

import copy
import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from core.errors import UnknownRecipe
from core.recipes import DEFAULT_RECIPES, NAMED_RECIPES, resolve
from core.specs import MAX_STEPS, Recipe
from tests.unit.specs import JSON_VALUES, NAMES, RECIPES, TITLES, differing

FOR_PEOPLE = {"name", "title"}


def shuffled(value: Any, draw: st.DrawFn) -> Any:
    """`value` with the fields of its objects in another order."""
    if not isinstance(value, dict):
        return value
    return {name: shuffled(value[name], draw) for name in draw(st.permutations(list(value)))}


def leaves(value: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Where the single values of nested objects are."""
    if not isinstance(value, dict):
        return [path]
    return [leaf for name, inner in value.items() for leaf in leaves(inner, (*path, name))]


def put(value: dict[str, Any], path: tuple[str, ...], new: Any) -> None:
    for name in path[:-1]:
        value = value[name]
    value[path[-1]] = new


def get(value: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        value = value[name]
    return value


@given(RECIPES, st.data())
def test_a_recipe_is_the_same_in_any_order_of_fields_and_after_any_journey(recipe: Recipe, data: st.DataObject) -> None:
    hashed = recipe.content_hash()
    for again in (
        Recipe.model_validate(recipe.model_dump()),
        Recipe.model_validate_json(recipe.model_dump_json()),
        Recipe.model_validate(json.loads(json.dumps(recipe.model_dump(mode="json")))),
        Recipe.model_validate(shuffled(recipe.model_dump(), data.draw)),
    ):
        assert again == recipe
        assert again.content_hash() == hashed
    assert len(hashed) == 16
    assert int(hashed, 16) >= 0


@given(RECIPES, NAMES, TITLES)
def test_names_for_people_change_nothing(recipe: Recipe, name: str, title: str) -> None:
    assert recipe.model_copy(update={"name": name, "title": title}).content_hash() == recipe.content_hash()


@given(RECIPES, st.data())
def test_whatever_changes_the_picture_changes_the_hash(recipe: Recipe, data: st.DataObject) -> None:
    """One field, wherever it stands, gets another value."""
    fields = [leaf for leaf in leaves(recipe.model_dump()) if leaf[0] not in FOR_PEOPLE]
    path = data.draw(st.sampled_from(fields))
    changed = copy.deepcopy(recipe.model_dump())
    put(changed, path, data.draw(differing(get(changed, path))))
    try:
        other = Recipe.model_validate(changed)
    except ValidationError:
        assume(False)
        return
    assert other != recipe
    assert other.content_hash() != recipe.content_hash()


@given(RECIPES, st.data(), JSON_VALUES)
def test_a_recipe_with_one_value_of_another_kind_is_refused_in_words_or_is_one(
    recipe: Recipe, data: st.DataObject, value: Any
) -> None:
    changed = copy.deepcopy(recipe.model_dump())
    put(changed, data.draw(st.sampled_from([*leaves(changed), ("step",), ("method",), ("method", "other")])), value)
    try:
        made = Recipe.model_validate(changed)
    except ValidationError as error:
        assert all(each["msg"] for each in error.errors())
    else:
        assert Recipe.model_validate_json(made.model_dump_json()) == made


@pytest.mark.parametrize("value", ["100", True, 2.5, 10**400, float("inf"), float("nan"), None, [], {}])
def test_steps_are_a_whole_number(value: object) -> None:
    with pytest.raises(ValidationError):
        Recipe.model_validate({"steps": value})


def test_json_has_one_kind_of_number() -> None:
    assert Recipe.model_validate({"steps": 120.0}) == Recipe(steps=120)
    assert Recipe.model_validate({"steps": 120.0}).content_hash() == Recipe(steps=120).content_hash()


def test_there_is_one_zero() -> None:
    below, above = (Recipe.model_validate({"method": {"method": "pixels", "decay": zero}}) for zero in (-0.0, 0.0))
    assert below.content_hash() == above.content_hash()


@pytest.mark.parametrize("field", [{"clamp": 1}, {"clamp": "yes"}, {"decay": "0.1"}, {"decay": True}])
def test_a_text_is_no_number_and_a_number_no_yes_or_no(field: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Recipe.model_validate({"method": {"method": "pixels", **field}})


NAMED = st.sampled_from(sorted(NAMED_RECIPES))


@given(st.lists(NAMED | RECIPES | st.text(max_size=10), max_size=6), st.none() | st.integers(1, MAX_STEPS))
def test_recipes_are_resolved_in_order_each_once_or_refused(wanted: list[str | Recipe], steps: int | None) -> None:
    unknown = [each for each in wanted if isinstance(each, str) and each not in NAMED_RECIPES]
    plain = [NAMED_RECIPES[each] if isinstance(each, str) else each for each in wanted if each not in unknown]
    plain = plain or list(DEFAULT_RECIPES)
    expected = [recipe.model_copy(update={"steps": steps or recipe.steps}) for recipe in plain]
    hashes = [recipe.content_hash() for recipe in expected]
    try:
        resolved = resolve(wanted, steps)
    except UnknownRecipe as error:
        assert error.remedy
        assert unknown or len(set(hashes)) < len(hashes)
    else:
        assert not unknown
        assert resolved == tuple(expected)


@given(st.integers() | st.floats() | st.text(max_size=3))
def test_steps_for_all_are_held_to_the_same_limits(steps: Any) -> None:
    try:
        resolved = resolve(["bold"], steps)
    except ValidationError:
        return
    assert all(isinstance(recipe.steps, int) and 1 <= recipe.steps <= MAX_STEPS for recipe in resolved)
