"""Planning: every picture is in exactly one shard, shards are of the wanted size, thumbnails come first."""

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import UnitOutOfRange, UnknownLayer
from core.recipes import resolve
from core.specs import SHEET_TILES, AtlasSpec, LayerInfo, NetworkInfo, NetworkSource, Window
from workers.planning import MOST_IMAGES, cut, units_per_shard

RECIPES = resolve(["fourier", "bold", "soft"])


def layer(order: int, units: int, *, default: bool = True) -> LayerInfo:
    window = Window(top=0, left=0, height=8, width=8, position=(0, 0), full=True)
    return LayerInfo(
        name=f"layer{order}",
        kind="conv",
        order=order,
        units=units,
        output_shape=(units, 4, 4),
        unit_axis=0,
        read_at=f"layer{order}",
        window=window,
        default=default,
    )


def network(*layers: LayerInfo) -> NetworkInfo:
    source = NetworkSource(name="net", kind="bundled", builder="demo")
    return NetworkInfo(
        source=source,
        weights_hash="0" * 64,
        input_shape=(3, 8, 8),
        mean=(0.5,) * 3,
        std=(0.5,) * 3,
        parameters=1,
        layers=layers,
    )


sizes = st.lists(st.integers(1, 700), min_size=1, max_size=5)
seconds = st.floats(0, 10) | st.sampled_from([0.0, 1e-9, 1e6])


@given(sizes, st.integers(1, 3), st.integers(1, 9), seconds, st.floats(0.01, 3600))
def test_every_picture_is_in_exactly_one_shard(sizes, recipes, seeds, image_step_seconds, shard_seconds):
    info = network(*(layer(i, units) for i, units in enumerate(sizes)))
    spec = AtlasSpec(network="net", recipes=RECIPES[:recipes], seeds=seeds)

    shards = list(cut(info, spec, lambda _: image_step_seconds, shard_seconds))

    covered = Counter((s.layer, s.recipe_hash, unit) for s in shards for unit in s.units)
    hashes = [recipe.content_hash() for recipe in spec.recipes]
    wanted = {(la.name, h, u) for la, h in itertools.product(info.layers, hashes) for u in range(la.units)}
    assert covered == Counter(dict.fromkeys(wanted, 1))
    assert all(shard.seeds == seeds for shard in shards)
    assert all(list(shard.units) == sorted(shard.units) for shard in shards)
    assert all(len(s.units) <= SHEET_TILES or len(s.units) * s.seeds <= MOST_IMAGES for s in shards)


@given(st.integers(1, 9), st.floats(1e-6, 100), st.floats(0.1, 3600))
def test_a_shard_is_as_long_as_wanted_or_a_single_unit(seeds, unit_seconds, shard_seconds):
    units = units_per_shard(unit_seconds, seeds, shard_seconds)

    assert units == 1 or units * unit_seconds <= shard_seconds * (1 + 1e-9)
    full = units >= max(SHEET_TILES, MOST_IMAGES // seeds // SHEET_TILES * SHEET_TILES)
    assert full or (units + SHEET_TILES) * unit_seconds > shard_seconds


def test_the_order_of_work_shows_the_whole_network_early():
    info = network(layer(0, 200), layer(1, 100))
    spec = AtlasSpec(network="net", recipes=RECIPES)

    shards = list(cut(info, spec, lambda _: 0.01, 0.01 * RECIPES[0].steps * 50))

    thumbnails = [s for s in shards if s.recipe_hash == RECIPES[0].content_hash()]
    assert shards[: len(thumbnails)] == thumbnails
    assert [s.layer for s in thumbnails] == ["layer0", "layer1", "layer0", "layer1", "layer0", "layer0"]


def test_parts_of_a_sheet_are_of_like_size():
    shards = cut(
        network(layer(0, 65)), AtlasSpec(network="net", recipes=RECIPES[:1]), lambda _: 0.001, 0.001 * 160 * 60
    )

    assert [len(s.units) for s in shards] == [33, 32]


def test_only_default_layers_unless_named():
    info = network(layer(0, 4), layer(1, 4, default=False))

    assert {s.layer for s in cut(info, AtlasSpec(network="net", recipes=RECIPES), lambda _: 1, 1)} == {"layer0"}
    named = AtlasSpec(network="net", recipes=RECIPES, layers=("layer1", "layer1"), units=(3, 1, 3))
    shards = list(cut(info, named, lambda _: 0.0, 1))
    assert {s.layer for s in shards} == {"layer1"}
    assert {s.units for s in shards} == {(1, 3)}


@pytest.mark.parametrize(
    ("wish", "error", "said"),
    [
        ({"layers": ("layr0",)}, UnknownLayer, "Did you mean 'layer0'"),
        ({"units": (2, 4)}, UnitOutOfRange, "no unit 4. It has 4: 0 to 3"),
    ],
)
def test_a_wish_the_network_cannot_fulfil(wish, error, said):
    with pytest.raises(error, match=said):
        cut(network(layer(0, 4)), AtlasSpec(network="net", recipes=RECIPES, **wish), lambda _: 1, 1)


def test_costs_are_estimated_from_this_devices_speed():
    [shard] = cut(network(layer(0, 4)), AtlasSpec(network="net", recipes=RECIPES[:1], seeds=2), lambda _: 0.001, 100)

    assert shard.cost_seconds == pytest.approx(4 * 2 * 160 * 0.001)
