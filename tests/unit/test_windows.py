"""Windows: as small as they can be, and exact; where nothing smaller is exact, the whole input."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from core.specs import LayerInfo, NetworkSource, Window
from deepvis.layers import capture, centre_position, describe, layer_values
from deepvis.networks import Network, find_source, load_network
from deepvis.passes import random_pictures
from deepvis.tracing import trace
from deepvis.windows import Box, support, total_stride
from tests.unit.small_networks import small_network


def windows(module: nn.Module, channels: int = 3, side: int = 64) -> dict[str, Window]:
    return {layer.name: layer.window for layer in describe(small_network(module, channels, side)).layers}


def sides(module: nn.Module, **shape: int) -> list[int | None]:
    """The side of every layer's window; None for the whole input."""
    return [None if w.full else w.height for w in windows(module, **shape).values()]


def difference(network: Network, layer: LayerInfo, seed: int) -> tuple[float, float]:
    """How far activations and gradient on the window are from those on the whole picture, relative to the largest.

    The slow, obvious twin: two plain passes in double precision for one layer.
    """
    module = network.module.double()
    x = random_pictures(network, ["white", "smooth"], torch.Generator().manual_seed(seed)).double()
    w = layer.window
    inside = (slice(None), slice(None), slice(w.top, w.top + w.height), slice(w.left, w.left + w.width))
    whole_x, window_x = x.clone().requires_grad_(), x[inside].clone().requires_grad_()
    with capture(module, layer.read_at) as reader:
        centre = centre_position(layer.output_shape, layer.unit_axis)
        whole = layer_values(reader.run(whole_x), layer, centre)
        window = layer_values(reader.run(window_x), layer, w.position)
    weights = torch.randn(layer.units, dtype=torch.double, generator=torch.Generator().manual_seed(seed))
    (whole_g,) = torch.autograd.grad((whole * weights).sum(), whole_x, materialize_grads=True)
    (window_g,) = torch.autograd.grad((window * weights).sum(), window_x, materialize_grads=True)
    padded = torch.zeros_like(whole_g)
    padded[inside] = window_g
    module.float()
    return _relative(whole, window), _relative(whole_g, padded)


def _relative(expected: torch.Tensor, got: torch.Tensor) -> float:
    return float(((expected - got).abs().max() / expected.abs().max().clamp(min=1e-30)).detach())


class TestSmallest:
    def test_a_convolution_sees_its_kernel(self):
        assert sides(nn.Sequential(nn.Conv2d(3, 4, 7))) == [7]

    def test_a_stack_sees_the_sum_of_its_kernels(self):
        module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 5))
        assert sides(module) == [3, 5, 9]

    def test_strides_and_padding_cost_the_alignment(self):
        """Centre unit 8 of 16 starts at pixel 8 * 4 - 2 = 30; the next multiple of 4 before it is 28."""
        window = windows(nn.Sequential(nn.Conv2d(3, 4, 7, stride=4, padding=2)))["0"]
        assert (window.top, window.height, window.position) == (28, 9, (1, 1))

    def test_one_by_one_convolutions_and_normalisation_add_nothing(self):
        module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(True), nn.Conv2d(4, 4, 1))
        assert sides(module) == [3, 3, 3]

    def test_dilation(self):
        assert sides(nn.Sequential(nn.Conv2d(3, 4, 3, dilation=4))) == [9]

    def test_kernels_and_inputs_that_are_not_square(self):
        network = small_network(nn.Sequential(nn.Conv2d(1, 4, (3, 9), stride=(1, 2))), 1, 32)
        window = describe(network).layers[0].window
        assert (window.height, window.width) == (3, 9)
        assert window.left % 2 == 0

    def test_alexnet(self):
        info = describe(load_network(find_source("alexnet@random")))
        found = [layer.window.height for layer in info.layers if layer.kind == "conv"]
        assert found[0] == 13
        assert all(side <= limit for side, limit in zip(found, [13, 57, 161, 177, 193], strict=True))
        assert all(layer.window.full for layer in info.layers if layer.kind == "linear")

    @pytest.mark.shared
    def test_trained_squeezenet(self, shared_dir):
        source = NetworkSource(name="trained", kind="torchvision", builder="squeezenet1_0")
        weights = shared_dir / "data/weights/squeezenet1_0_imagenet.safetensors"
        network = load_network(source, checkpoint=weights)
        layers = {layer.name: layer for layer in describe(network).layers}
        most = {"features.0": 7, "features.4.expand3x3": 27, "features.7.expand3x3": 63, "features.9.expand3x3": 95}
        for name, side in (most | {"features.12.expand3x3": 191}).items():
            assert layers[name].window.height <= side
        for name in ("features.7.expand3x3", "features.12.expand3x3"):
            assert max(difference(network, layers[name], seed=11)) < 1e-9, name
        assert layers["classifier.1"].labelled
        assert layers["classifier.1"].window.full


class SqueezeAndExcite(nn.Module):
    def __init__(self):
        super().__init__()
        self.weigh = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 4, 1), nn.Sigmoid())

    def forward(self, x):
        return x * self.weigh(x)


class SizeBound(nn.Module):
    """Refuses what is not 64 pixels wide, as a vision transformer does."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 4, 8, stride=8)

    def forward(self, x):
        assert x.shape[-1] == 64
        return self.patches(x)


class PlaceBound(nn.Module):
    """Adds what depends on the place, so that a cut-out is something else."""

    def __init__(self):
        super().__init__()
        self.mix = nn.Conv2d(3, 4, 3, padding=1)
        self.after = nn.Conv2d(4, 4, 1)

    def forward(self, x):
        made = self.mix(x)
        return self.after(made + torch.linspace(0, 1, made.shape[-1]))


class CutOff(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)

    def forward(self, x):
        return self.second(self.first(x).detach())


class TestWhole:
    def test_squeeze_and_excitation_sees_everything_from_there_on(self):
        module = nn.Sequential(nn.Conv2d(3, 4, 3), SqueezeAndExcite(), nn.Conv2d(4, 4, 3))
        assert sides(module) == [3, None, None, None]

    def test_global_pooling_and_linear_layers(self):
        module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
        assert sides(module) == [3, None, None]

    def test_networks_that_take_one_size_only(self):
        assert sides(SizeBound()) == [None]

    def test_units_that_depend_on_the_place(self):
        assert sides(PlaceBound()) == [3, None]

    def test_units_that_nothing_moves(self):
        dead = nn.Conv2d(3, 4, 3)
        nn.init.zeros_(dead.weight)
        assert sides(nn.Sequential(dead)) == [None]

    def test_units_that_are_cut_off_from_the_picture(self):
        assert sides(CutOff()) == [3, None]

    def test_a_whole_window_is_read_at_the_centre(self):
        window = windows(SizeBound())["patches"]
        assert window == Window(top=0, left=0, height=64, width=64, position=(4, 4), full=True)


class Sparse(nn.Module):
    """A rectifier that hides most of what the second convolution sees from any one picture."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 1, 1), nn.Conv2d(1, 1, 9, padding=4)
        nn.init.constant_(self.first.bias, -0.9)
        nn.init.normal_(self.first.weight, std=0.5)

    def forward(self, x):
        return self.second(self.first(x).relu())


def test_what_silent_rectifiers_hide_is_found_on_fresh_pictures():
    torch.manual_seed(0)
    network = small_network(Sparse(), 3, 48)
    layer = describe(network).layers[-1]
    assert all(difference(network, layer, seed)[0] < 1e-9 for seed in range(20))


def test_describing_twice_gives_the_same():
    network = small_network(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3)), 3, 48)
    assert describe(network) == describe(network)


STEPS = st.one_of(
    st.tuples(st.just("conv"), st.integers(1, 5), st.integers(1, 2), st.integers(0, 2)),
    st.tuples(st.just("pool"), st.integers(2, 3), st.integers(1, 2), st.booleans()),
    st.tuples(st.just("norm")),
)


def stack(steps: list[tuple]) -> nn.Sequential:
    modules: list[nn.Module] = [nn.Conv2d(2, 5, 3)]
    for step in steps:
        match step:
            case ("conv", side, stride, padding):
                modules += [nn.ReLU(inplace=True), nn.Conv2d(5, 5, side, stride, min(padding, side // 2))]
            case ("pool", side, stride, ceil):
                modules.append(nn.MaxPool2d(side, stride, ceil_mode=ceil))
            case ("norm",):
                modules.append(nn.BatchNorm2d(5))
    return nn.Sequential(*modules)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(steps=st.lists(STEPS, max_size=6), side=st.integers(45, 70), seed=st.integers(0, 9))
def test_any_stack_gives_on_its_windows_what_it_gives_on_whole_pictures(steps, side, seed):
    torch.manual_seed(seed)
    network = small_network(stack(steps), 2, side)
    for layer in describe(network).layers:
        value, gradient = difference(network, layer, seed)
        assert max(value, gradient) < 1e-9, layer


class TestParts:
    def test_support(self):
        gradient = torch.zeros(2, 3, 8, 9)
        assert support(gradient) is None
        gradient[0, 1, 2, 5] = -1e-30
        gradient[1, 0, 6, 3] = float("nan")
        assert support(gradient) == Box(2, 3, 7, 6)

    def test_boxes(self):
        box = Box(5, 6, 11, 12)
        assert box.aligned((4, 4)) == Box(4, 4, 11, 12)
        assert box.grown((8, 2), (1, 9), 16, 16) == Box(0, 4, 12, 16)
        assert box.union(Box(7, 2, 8, 20)) == Box(5, 2, 11, 20)
        assert box.union(None) == box

    @pytest.mark.parametrize(("name", "stride"), [("squeezenet1_0", 16), ("alexnet", 16), ("googlenet", 32)])
    def test_total_stride_where_the_sides_do_not_divide(self, name, stride):
        network = load_network(find_source(f"{name}@random"))
        layers = trace(network.module, torch.zeros(1, *network.input_shape))
        by_name = {layer.name: layer for layer in layers}
        last = [layer for layer in layers if layer.kind == "conv" and layer.output_shape[1] > 1][-1]
        assert total_stride(last, by_name, network.input_shape) == (stride, stride)

    def test_pictures_use_the_whole_range_of_pixels(self):
        network = small_network(nn.Sequential(nn.Conv2d(3, 4, 3)), 3, 32)
        pictures = random_pictures(network, ["white", "smooth"] * 2, torch.Generator().manual_seed(0))
        pixels = pictures * torch.tensor(network.std).view(3, 1, 1) + torch.tensor(network.mean).view(3, 1, 1)
        assert pixels.min() >= -1e-6
        assert pixels.max() <= 1 + 1e-6
        neighbours = (pixels[..., 1:] - pixels[..., :-1]).abs().mean((1, 2, 3))
        assert (neighbours[[0, 2]] > 2 * neighbours[[1, 3]]).all()  # white, smooth, white, smooth
