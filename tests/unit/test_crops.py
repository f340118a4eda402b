"""Receptive fields, against the gradients of single units."""

import numpy as np
import pytest
import torch
from torch import nn

from core.specs import LayerInfo
from deepvis.crops import Field, crop, crop_view, measure_fields
from deepvis.layers import describe
from deepvis.networks import Network, find_source, load_network
from deepvis.passes import random_pictures
from deepvis.reading import capture
from deepvis.windows import Box, support
from tests.unit.small_networks import small_network

NETWORKS = {
    "squeezenet1_0": {
        "features.0": 7,
        "features.3.expand3x3": 19,
        "features.8.squeeze": 59,
        "features.12.squeeze": 123,
    },
    "alexnet": {"features.0": 11, "features.3": 51, "features.6": 99, "features.10": 163},
    "resnet18": {"conv1": 7, "layer1.0.conv2": 27, "layer2.0.conv1": 51, "layer2.0.downsample.0": 43},
}


def _seen(network: Network, layer: LayerInfo, row: int, column: int, seed: int) -> Box | None:
    """What the units of one position see of one random picture."""
    x = random_pictures(network, ["white"], torch.Generator().manual_seed(seed)).requires_grad_()
    with capture(network.module, layer.read_at) as reader:
        values = reader.run(x)[0, :, row, column]
    (gradient,) = torch.autograd.grad((values * torch.arange(1.0, len(values) + 1)).sum(), x)
    return support(gradient)


@pytest.mark.parametrize(("name", "sides"), NETWORKS.items())
def test_fields_hold_what_units_see_and_no_more(name: str, sides: dict[str, int]) -> None:
    network = load_network(find_source(f"{name}@random"))
    layers = [layer for layer in describe(network).layers if layer.name in sides]
    fields = measure_fields(network, layers)
    # What kernels and strides make.
    assert {layer: (f.height, f.width) for layer, f in fields.items()} == {n: (side, side) for n, side in sides.items()}
    for layer in layers:
        rows, columns = layer.output_shape[1:]
        for row, column in ((0, 0), (0, columns - 1), (rows - 1, columns // 2), (rows // 2, columns // 2 - 1)):
            _assert_holds(fields[layer.name], network, layer, row, column)


def _assert_holds(field: Field, network: Network, layer: LayerInfo, row: int, column: int) -> None:
    box = field.box(row * layer.output_shape[2] + column)
    seen = _seen(network, layer, row, column, 7 * row + column)
    assert seen is not None
    assert box.top <= seen.top
    assert box.left <= seen.left
    assert box.bottom >= seen.bottom
    assert box.right >= seen.right
    if min(box.top, box.left) >= 0 and max(box.bottom, box.right) <= network.input_shape[1]:  # an inner one
        assert seen.bottom - seen.top >= field.height - 2
        assert seen.right - seen.left >= field.width - 2


def test_units_that_see_everything_have_the_whole_picture() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 14 * 14, 5))
    network = small_network(module)
    info = describe(network)
    fields = measure_fields(network, info.layers)
    assert fields["2"].box(-1) == fields["2"].box(0) == Box(0, 0, 16, 16)
    assert fields["0"].box(0) == Box(0, 0, 3, 3)
    assert fields["0"].box(15) == Box(1, 1, 4, 4)


def test_units_that_do_not_see_alike_have_the_whole_picture() -> None:
    class Turned(nn.Module):
        """What stands at the top right of the map looks at the bottom left of the picture."""

        def __init__(self) -> None:
            super().__init__()
            self.conv, self.last = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(self.conv(x).flip(2, 3))

    network = small_network(Turned())
    layers = [
        layer.model_copy(update={"window": layer.window.model_copy(update={"position": (0, 0), "full": False})})
        for layer in describe(network).layers
    ]
    assert measure_fields(network, layers)["last"] == Field(top=0, left=0, height=16, width=16)


def test_crops_are_padded_with_the_mean_colour() -> None:
    pixels = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    corner = crop(pixels, Box(-1, 3, 2, 7), [0.5, 0.0, 1.0])
    assert corner.shape == (3, 4, 3)
    assert np.array_equal(corner[1:, :2], pixels[:2, 3:])
    assert set(map(tuple, [*corner[0].tolist(), *corner[:, 2:].reshape(-1, 3).tolist()])) == {(128, 0, 255)}
    assert np.array_equal(crop(pixels, Box(1, 1, 3, 4), [0, 0, 0]), pixels[1:3, 1:4])
    outside = crop(pixels, Box(-9, -9, -5, -5), [0, 0, 0])
    assert outside.shape == (4, 4, 3)
    assert not outside.any()


def test_views_are_padded_with_nothing() -> None:
    view = np.ones((3, 4, 5), np.float32)
    cut = crop_view(view, Box(2, -2, 6, 2))
    assert cut.shape == (3, 4, 4)
    assert cut.sum() == 3 * 2 * 2
    assert np.array_equal(cut[:, :2, 2:], np.ones((3, 2, 2)))
