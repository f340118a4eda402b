"""The planner, for any network and wish: every picture in exactly one shard, shards of a bounded size, one order."""

from collections import Counter
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import UnitOutOfRange
from core.recipes import NAMED_RECIPES
from core.specs import MAX_SEEDS, SHEET_TILES, AtlasSpec, LayerInfo, NetworkInfo, Recipe, ShardSpec
from tests.unit.test_planning import layer, network
from workers.planning import MOST_IMAGES, cut

ALL_RECIPES = list(NAMED_RECIPES.values())
# What a worker may come to think of its speed: nothing at all, and what overflows when it is multiplied.
COSTS = st.floats(0, 10) | st.sampled_from([0.0, 5e-324, 1e-12, 1e9, 1e308, inf])
SHARD_SECONDS = st.floats(1e-3, 1e5) | st.sampled_from([5e-324, 1.0, 1e308])

EXAMPLES = settings(max_examples=60)


@st.composite
def networks(draw: st.DrawFn) -> NetworkInfo:
    """Any network: layers of any size, some of them only on request, not listed in forward order."""
    sizes = draw(st.lists(st.integers(1, 700), min_size=1, max_size=6))
    asked = draw(st.lists(st.booleans(), min_size=len(sizes), max_size=len(sizes)))
    pairs = enumerate(zip(sizes, asked, strict=True))
    layers = [layer(order, units, default=not on_request) for order, (units, on_request) in pairs]
    return network(*draw(st.permutations(layers)))


@st.composite
def wishes(draw: st.DrawFn, info: NetworkInfo) -> AtlasSpec:
    """Any wish that `info` can fulfil: layers and units named or not, repeated and in any order."""
    names = draw(st.lists(st.sampled_from([each.name for each in info.layers]), max_size=4))
    least = min((each.units for each in chosen(info, names)), default=1)
    units = draw(st.lists(st.integers(0, least - 1), max_size=80))
    recipes = draw(st.lists(st.sampled_from(ALL_RECIPES), min_size=1, max_size=4, unique_by=Recipe.content_hash))
    seeds = draw(st.integers(1, MAX_SEEDS))
    return AtlasSpec(network="net", layers=tuple(names), units=tuple(units), recipes=tuple(recipes), seeds=seeds)


def chosen(info: NetworkInfo, names: list[str] | tuple[str, ...]) -> list[LayerInfo]:
    return [each for each in info.layers if (each.name in names if names else each.default)]


@st.composite
def plans(draw: st.DrawFn) -> tuple[NetworkInfo, AtlasSpec, list[ShardSpec]]:
    """A network, a wish, and the shards it is cut into by a device of any speed, each layer with its own."""
    info = draw(networks())
    wish = draw(wishes(info))
    costs = {each.name: draw(COSTS) for each in info.layers}
    return info, wish, list(cut(info, wish, lambda each: costs[each.name], draw(SHARD_SECONDS)))


@EXAMPLES
@given(plans())
def test_every_picture_is_in_exactly_one_shard(plan: tuple[NetworkInfo, AtlasSpec, list[ShardSpec]]) -> None:
    info, wish, shards = plan
    covered = Counter((s.layer, u, s.recipe_hash, seed) for s in shards for u in s.units for seed in range(s.seeds))
    wanted = {
        (each.name, unit, recipe.content_hash(), seed)
        for each in chosen(info, wish.layers)
        for unit in (wish.units or range(each.units))
        for recipe in wish.recipes
        for seed in range(wish.seeds)
    }
    assert covered == Counter(dict.fromkeys(wanted, 1))


@EXAMPLES
@given(plans())
def test_shards_are_bounded_and_say_what_they_cost(plan: tuple[NetworkInfo, AtlasSpec, list[ShardSpec]]) -> None:
    _, _, shards = plan
    for shard in shards:
        assert len(shard.units) <= SHEET_TILES or len(shard.units) * shard.seeds <= MOST_IMAGES
        assert list(shard.units) == sorted(set(shard.units))
        assert 0 <= shard.cost_seconds < inf


@EXAMPLES
@given(plans())
def test_thumbnails_come_first_and_a_piece_of_every_layer_before_any_second(
    plan: tuple[NetworkInfo, AtlasSpec, list[ShardSpec]],
) -> None:
    info, wish, shards = plan
    first = wish.recipes[0].content_hash()
    thumbnails = [s for s in shards if s.recipe_hash == first]
    assert shards[: len(thumbnails)] == thumbnails
    orders = {each.name: each.order for each in info.layers}
    for recipes in ([first], [recipe.content_hash() for recipe in wish.recipes[1:]]):
        seen: Counter[tuple[str, str]] = Counter()
        places = []
        for shard in (s for s in shards if s.recipe_hash in recipes):
            places.append((seen[shard.layer, shard.recipe_hash], orders[shard.layer]))
            seen[shard.layer, shard.recipe_hash] += 1
        assert places == sorted(places)


@given(networks(), st.data())
def test_a_unit_that_a_layer_has_not_is_refused(info: NetworkInfo, data: st.DataObject) -> None:
    layers = chosen(info, ())
    if not layers:
        return
    beyond = min(each.units for each in layers) + data.draw(st.integers(0, 100))
    wish = AtlasSpec(network="net", units=(0, beyond), recipes=(ALL_RECIPES[0],))
    with pytest.raises(UnitOutOfRange, match="It has"):
        list(cut(info, wish, lambda _: 0.01, 20))
