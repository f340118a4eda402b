"""The gallery's wording, and how styles are named in addresses."""

from datetime import UTC, datetime, timedelta

import pytest

from api.gallery import addresses, words
from api.gallery.styles import choose, styles_of
from core.recipes import BOLD, FOURIER, NAMED_RECIPES, RAW
from core.specs import Window
from db.queries.recipes import RecipeItem


def item(recipe, steps=None):
    recipe = recipe.model_copy(update={"steps": steps or recipe.steps})
    return RecipeItem(
        hash=recipe.content_hash(), name=recipe.name, title=recipe.title, steps=recipe.steps, direction="excite"
    )


@pytest.mark.parametrize(
    ("number", "told"),
    [(None, "none"), (0.0, "0.000"), (71.234, "71.2"), (-3.4567, "-3.46"), (0.0123, "0.012"), (12345.6, "12,346"),
     (1e7, "1.00e+07"), (2e-5, "2.00e-05")],
)  # fmt: skip
def test_activations_have_about_three_digits(number, told):
    assert words.value(number) == told


@pytest.mark.parametrize(("fraction", "told"), [(0.0, "0 %"), (0.004, "under 1 %"), (0.9996, "99 %"), (1.0, "100 %")])
def test_a_share_is_never_rounded_up_to_all(fraction, told):
    assert words.percent(fraction) == told


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.4, "under a second"), (1, "1 second"), (59, "59 seconds"), (134, "2 minutes"), (7200, "2 hours"),
     (90_000, "1 day")],
)  # fmt: skip
def test_durations(seconds, told):
    assert words.duration(seconds) == told


def test_ago():
    assert words.ago(datetime.now(UTC)) == "just now"
    assert words.ago(datetime.now(UTC) - timedelta(hours=3)) == "3 hours ago"


@pytest.mark.parametrize(
    ("units", "told"), [((), ""), ((4,), "4"), ((0, 1, 2, 7, 9, 10), "0–2, 7, 9–10"), (range(96, 128), "96–127")]
)
def test_units_are_told_as_ranges(units, told):
    assert words.unit_ranges(units) == told


def test_windows_are_told_width_first():
    window = Window(top=0, left=0, height=5, width=7, position=(1, 1), full=False)
    assert words.window_size(window) == "7 × 5 px"
    assert words.window_share(window, (3, 10, 10)) == "35 %"
    assert words.window_size(window.model_copy(update={"full": True})) == "the whole input"


@pytest.mark.parametrize("name", NAMED_RECIPES)
def test_every_recipe_has_words(name):
    told = words.recipe_words(NAMED_RECIPES[name])
    assert len(told) >= 3
    assert told[0].startswith("silences" if name.endswith(".silence") else "excites")


def test_recipe_words_tell_the_settings():
    assert words.recipe_words(BOLD) == [
        "excites the centre unit",
        "blur 0.5 px every 4 steps",
        "small-norm clipping at percentile 50",
        "step rule normalised (rms 8, anneal)",
    ]
    assert "no regularisation" in words.recipe_words(RAW)


def test_styles_of_one_name_are_told_apart_by_their_steps():
    styles = styles_of([item(FOURIER), item(FOURIER, 60), item(BOLD)])
    assert [style.word for style in styles] == ["fourier", item(FOURIER, 60).hash, "bold"]
    assert [style.title for style in styles] == [
        "Natural textures (160 steps)", "Natural textures (60 steps)", "Bold strokes",
    ]  # fmt: skip


def test_a_style_that_is_not_there_gives_the_first():
    styles = styles_of([item(FOURIER), item(BOLD)])
    assert choose(styles, "bold") == styles[1]
    assert choose(styles, styles[1].hash) == styles[1]
    assert choose(styles, "no-such-style") == styles[0]
    assert choose([], "bold") is None


def test_addresses_are_quoted_and_short():
    assert addresses.network("alexnet@random") == "/networks/alexnet@random"
    assert addresses.unit("a", "blocks.0/mlp", 3, recipe="bold", seed=0) == (
        "/networks/a/layers/blocks.0/mlp/units/3?recipe=bold&seed=0"
    )
    assert addresses.layer("a", "b?c", recipe="", seed=None) == "/networks/a/layers/b%3Fc"
