import dataclasses
import time

import numpy as np
import pytest
import torch
from torch import nn

from core.errors import BadNetwork, Cancelled
from core.recipes import BOLD, DEFAULT_RECIPES, FOURIER, SOFT
from core.specs import PixelMethod, Recipe
from deepvis.engine import Engine
from deepvis.layers import describe
from tests.unit.small_networks import small_network, smooth_network

ADDRESSES = [(unit, seed) for unit in range(4) for seed in range(2)]


def _few(recipe: Recipe, steps: int = 12) -> Recipe:
    return recipe.model_copy(update={"steps": steps})


@pytest.mark.parametrize("recipe", DEFAULT_RECIPES, ids=lambda r: r.name)
def test_a_picture_depends_on_its_address_alone(recipe: Recipe) -> None:
    network, info = smooth_network()
    engine = Engine(network, precision="float32")
    for layer in info.layers:
        together = list(engine.preferred_pictures(layer, _few(recipe), ADDRESSES))
        alone = [next(engine.preferred_pictures(layer, _few(recipe), [a])) for a in reversed(ADDRESSES)][::-1]
        for one, other in zip(together, alone, strict=True):
            assert (one.unit, one.seed) == (other.unit, other.seed)
            assert one.activation == pytest.approx(other.activation, rel=2e-2, abs=1e-3)
            differing = np.abs(one.pixels.astype(int) - other.pixels.astype(int)) > 2
            assert differing.mean() < 0.02


def test_seeds_give_different_pictures_and_the_same_seed_the_same() -> None:
    network, info = smooth_network()
    engine = Engine(network)
    layer = info.layers[1]
    first, second, again = engine.preferred_pictures(layer, _few(SOFT), [(0, 0), (0, 1), (0, 0)])
    assert np.array_equal(first.pixels, again.pixels)
    assert not np.array_equal(first.pixels, second.pixels)


def test_the_activation_is_that_of_the_stored_picture() -> None:
    network, info = smooth_network()
    layer = info.layers[-1]  # sees the whole input
    (picture,) = Engine(network).preferred_pictures(layer, _few(BOLD), [(2, 0)])
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (network.mean, network.std))
    pixels = torch.tensor(picture.pixels).permute(2, 0, 1)[None]
    expected = network.module((pixels / 255 - mean) / std)[0, 2].item()
    assert picture.activation == pytest.approx(expected, rel=1e-5)


def test_bfloat16_agrees_with_float32() -> None:
    network, info = smooth_network()
    layer = info.layers[-1]
    full, low = (
        list(Engine(network, precision=p).preferred_pictures(layer, _few(SOFT, 30), ADDRESSES))
        for p in ("float32", "bfloat16")
    )
    for one, other in zip(full, low, strict=True):
        assert other.activation == pytest.approx(one.activation, rel=0.05)
        assert np.corrcoef(one.pixels.ravel(), other.pixels.ravel())[0, 1] > 0.95


class _NeedsFloat32(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.dtype != torch.float32:
            raise RuntimeError("expected scalar type Float")
        return self.conv(x)


def test_a_network_that_needs_float32_gets_it() -> None:
    network = small_network(_NeedsFloat32())
    engine = Engine(network, precision="bfloat16")
    assert engine.precision == "float32"
    layer = describe(network).layers[0]
    assert next(engine.preferred_pictures(layer, _few(SOFT), [(0, 0)])).state == "ok"


@pytest.mark.parametrize("recipe", DEFAULT_RECIPES, ids=lambda r: r.name)
def test_dead_units_are_reported(recipe: Recipe) -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 1), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2))
    module(torch.zeros(1, 3, 16, 16))
    with torch.no_grad():
        module[0].weight[0] = 0
        module[0].bias[0] = -1  # never fires
        module[2].weight[1] = 0
        module[2].weight[1, 0] = 1  # listens to that one alone
    network = small_network(module)
    layer = next(x for x in describe(network).layers if x.name == "2")
    alive, dead, alive_too = Engine(network).preferred_pictures(layer, _few(recipe), [(0, 0), (1, 0), (2, 0)])
    assert (alive.state, dead.state, alive_too.state) == ("ok", "dead", "ok")
    assert dead.pixels is None
    assert dead.activation is None


@pytest.mark.parametrize("recipe", [BOLD, DEFAULT_RECIPES[0]], ids=lambda r: r.name)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_reported_and_spare_their_neighbours(recipe: Recipe, value: float) -> None:
    network, info = smooth_network()
    layer = info.layers[-1]
    clean = list(Engine(network, precision="float32").preferred_pictures(layer, _few(recipe), [(0, 0), (2, 0)]))
    network.module[-1].bias[1] = value
    engine = Engine(network, precision="float32")
    first, broken, last = engine.preferred_pictures(layer, _few(recipe), [(0, 0), (1, 0), (2, 0)])
    assert broken.state == "non_finite"
    assert broken.pixels is None
    for one, other in zip(clean, (first, last), strict=True):
        assert one.state == other.state == "ok"
        assert one.activation == pytest.approx(other.activation, rel=1e-2)


class _Small(nn.Module):
    """Runs out of memory above `most` images, as a device would."""

    def __init__(self, most: int, error: Exception) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.most, self.error = most, error

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) > self.most:
            raise self.error
        return self.conv(x)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."),
        RuntimeError("std::bad_alloc"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_out_of_memory_halves_the_batch_and_goes_on(error: Exception) -> None:
    network = small_network(_Small(64, error))
    layer = describe(network).layers[0]
    network.module.most = 3
    engine = Engine(network)
    pictures = list(engine.preferred_pictures(layer, _few(SOFT), [(u, 0) for u in range(8)], batch_size=8))
    assert [p.unit for p in pictures] == list(range(8))
    engine.module.most = 0
    with pytest.raises(BadNetwork, match="Not even one image"):
        list(engine.preferred_pictures(layer, _few(SOFT), [(0, 0)]))


def test_progress_rises_to_one_and_may_end_the_call() -> None:
    network, info = smooth_network()
    engine = Engine(network)
    layer = info.layers[0]
    seen: list[float] = []
    list(engine.preferred_pictures(layer, _few(SOFT), ADDRESSES, batch_size=3, on_progress=seen.append))
    assert seen == sorted(seen)
    assert seen[-1] == 1
    assert len(seen) == 12 * 3 + 1

    def stop(fraction: float) -> None:
        if fraction > 0.4:
            raise Cancelled("enough")

    done = []
    with pytest.raises(Cancelled):
        done.extend(engine.preferred_pictures(layer, _few(SOFT), ADDRESSES, batch_size=3, on_progress=stop))
    assert not engine.module[0]._forward_hooks


def test_the_users_module_is_left_as_it_was() -> None:
    network, info = smooth_network()
    before = {name: value.clone() for name, value in network.module.state_dict().items()}
    list(Engine(network).preferred_pictures(info.layers[1], _few(SOFT), [(0, 0)]))
    after = network.module.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any(m._forward_hooks for m in network.module.modules())


def test_constant_rates_that_overflow_are_results_not_crashes() -> None:
    network, info = smooth_network()
    recipe = Recipe(steps=20, method=PixelMethod(step={"rule": "constant", "rate": 1e9}, clamp=False))
    (picture,) = Engine(network, precision="float32").preferred_pictures(info.layers[-1], recipe, [(0, 0)])
    assert dataclasses.asdict(picture)["state"] in {"ok", "non_finite"}


def test_speed_is_measured() -> None:
    network, info = smooth_network()
    assert all(0 < Engine(network).seconds_per_image_step(layer) < 1 for layer in info.layers)


class _Slow(nn.Module):
    """Costs the same whatever the size of its batch."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        time.sleep(0.02)
        return self.conv(x)


def test_what_a_step_costs_whatever_its_size_is_shared_by_a_batch() -> None:
    network = small_network(_Slow())
    engine, layer = Engine(network), describe(network).layers[0]
    assert engine.seconds_per_image_step(layer) < 4 * 0.02 / engine.batch_size(layer) + 1e-3


def test_a_cpu_keeps_no_further_copy_of_the_network() -> None:
    network, _ = smooth_network()
    assert Engine(network).reference is network.module


@pytest.mark.parametrize("recipe", [FOURIER, BOLD], ids=lambda r: r.name)
def test_a_picture_that_is_watched_is_the_same_picture(recipe: Recipe) -> None:
    network, info = smooth_network()
    engine, layer = Engine(network), info.layers[1]
    seen: list[tuple[int, np.ndarray]] = []
    grown = engine.grow(layer, _few(recipe), 2, lambda step, picture: seen.append((step, picture())))
    (plain,) = engine.preferred_pictures(layer, _few(recipe), [(2, 0)])
    assert np.array_equal(grown.pixels, plain.pixels)
    assert [step for step, _ in seen] == list(range(12))
    assert all(pixels.shape == plain.pixels.shape and pixels.dtype == np.uint8 for _, pixels in seen)
    assert not np.array_equal(seen[0][1], seen[-1][1])
