"""Layers' outputs of one pass, class probabilities, and tiles."""

import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from core.errors import BadPicture
from deepvis import activations
from deepvis.engine import Engine
from deepvis.layers import describe
from deepvis.networks import find_source, load_network
from deepvis.pictures import Pixels


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(load_network(find_source("demo")), precision="float32")


def _seen(engine: Engine) -> Pixels:
    image = Image.effect_noise((90, 70), 80).convert("RGB")
    return activations.as_input(image, engine.network.input_shape)


def test_layers_are_read_before_and_after_their_non_linearity(engine: Engine) -> None:
    layers, seen = describe(engine.network).layers, [_seen(engine)] * 2
    before = activations.run(engine, seen, layers, "before")
    after = activations.run(engine, seen, layers, "after")
    for layer in layers:
        assert after.maps[layer.name].shape[:2] == (2, layer.units)
    assert before.maps["conv2"].min() < 0
    assert torch.equal(after.maps["conv2"], before.maps["conv2"].clamp(min=0))
    assert torch.equal(after.maps["classes"], before.maps["classes"])
    assert after.maps["classes"].shape[2:] == (1, 1)


def test_values_are_those_of_a_plain_pass(engine: Engine) -> None:
    seen = _seen(engine)
    x = engine.scale.from_picture(torch.from_numpy(seen).permute(2, 0, 1)[None] / 255)
    answers = activations.run(engine, [seen], describe(engine.network).layers)
    with torch.no_grad():
        torch.testing.assert_close(answers.probabilities, engine.network.module(x).softmax(1), rtol=1e-3, atol=1e-5)
        first = functional.relu(engine.network.module[1](engine.network.module[0](x)))
    torch.testing.assert_close(answers.maps["conv1"], first, rtol=1e-3, atol=1e-4)


def test_what_is_written_in_place_is_kept_as_it_was(engine: Engine) -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True), nn.Flatten(), nn.Softmax(1)).eval()
    layer = describe(engine.network).layers[0].model_copy(update={"name": "0", "read_at": "0"})
    x = torch.randn(1, 3, 2, 2)
    raw = activations.run_normalised(module, x, [layer], "before")
    shown = activations.run_normalised(module, x, [layer], "after")
    assert raw.maps["0"].min() < 0
    assert torch.equal(shown.maps["0"], raw.maps["0"].clamp(min=0))
    assert float(raw.probabilities.sum()) == pytest.approx(1)
    assert not any(part._forward_hooks for part in module.children())


def test_tokens_become_a_grid_without_their_class_token(engine: Engine) -> None:
    layer = describe(engine.network).layers[0].model_copy(update={"unit_axis": 1})
    tokens = torch.arange(10.0)[None, :, None].expand(1, 10, 5)
    maps = activations.unit_maps(tokens, layer)
    assert maps.shape == (1, 5, 3, 3)
    assert maps[0, 0].flatten().tolist() == list(range(1, 10))


def test_tiles_stand_in_row_major_order() -> None:
    shades = torch.tensor([0.2, 0.4, 0.6, 0.8, 1.0]).view(5, 1, 1).expand(5, 4, 4)
    grid = activations.tile_grid(shades)
    assert grid.shape == (10, 15, 1)
    assert [int(grid[5 * (i // 3), 5 * (i % 3), 0]) for i in range(6)] == [51, 102, 153, 204, 255, 0]
    assert activations.tile_grid(shades, side=9).shape == (6, 9, 1)


def test_contrast() -> None:
    maps = torch.tensor([[[4.0, 1.0]], [[-2.0, 0.0]]])
    assert activations.shade(maps).tolist() == [[[1, 0.25]], [[-0.5, 0]]]
    assert activations.shade(maps, per_channel=1).tolist() == [[[1, 0.25]], [[-1, 0]]]
    assert activations.shade(maps, gamma=0.5)[0, 0, 1] == 0.5
    assert activations.shade(torch.zeros(2, 3, 3)).abs().max() == 0
    assert activations.tile_grid(activations.shade(maps)).shape[2] == 3


def test_pictures_as_the_network_sees_them() -> None:
    image = Image.new("RGB", (200, 100), "red")
    assert activations.as_input(image, (3, 50, 40)).shape == (50, 40, 3)
    assert activations.as_input(image, (1, 50, 40)).shape == (50, 40, 1)
    with pytest.raises(BadPicture, match="5 channels"):
        activations.as_input(image, (5, 50, 40))
