"""Backward views, against deconvolution and guided backpropagation written out by hand."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from core.errors import UndefinedView, UnitOutOfRange, UnknownLayer
from core.specs import LayerInfo
from deepvis.backward import KINDS, backward_views
from deepvis.layers import describe
from deepvis.networks import find_source, load_network
from deepvis.passes import random_pictures
from deepvis.tracing import trace
from tests.unit.small_networks import small_network

SIDE = 16


class Written(nn.Module):
    """One network, with its rectifiers written in different ways."""

    def __init__(self, rectify) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two, self.three = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 8, 3), nn.Conv2d(8, 5, 3)
        self.rectify = rectify

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(self.rectify(self.one(x)), 2)
        return self.three(self.rectify(self.two(x)))


def _layer(module: nn.Module, name: str) -> LayerInfo:
    return next(layer for layer in describe(small_network(module, 3, SIDE)).layers if layer.name == name)


def _by_hand(module: Written, x: Tensor, unit: int, position: int, kind: str) -> Tensor:
    """(1, 3, H, W): each step's transpose, the rectifier's rule between them."""

    def rule(signal: Tensor, forward: Tensor) -> Tensor:
        if kind != "deconvolution":
            signal = signal * (forward > 0)
        return signal if kind == "gradient" else signal.clamp(min=0)

    a = module.one(x)
    pooled, switches = functional.max_pool2d(a.relu(), 2, return_indices=True)
    b = module.two(pooled)
    c = module.three(b.relu())
    signal = torch.zeros_like(c)
    signal.flatten(2)[0, unit, position] = 1
    signal = rule(functional.conv_transpose2d(signal, module.three.weight), b)
    signal = functional.conv_transpose2d(signal, module.two.weight)
    signal = rule(functional.max_unpool2d(signal, switches, 2, output_size=a.shape), a)
    return functional.conv_transpose2d(signal, module.one.weight, padding=1)


WAYS = {
    "module": nn.ReLU(),
    "in place": nn.ReLU(inplace=True),
    "function": functional.relu,
    "method": lambda x: x.relu_(),
    "clamp": lambda x: x.clamp(min=0),
    "threshold": nn.Threshold(0, 0),
}


@pytest.mark.parametrize("way", WAYS)
def test_the_views_are_those_written_out_by_hand(way: str) -> None:
    module = Written(WAYS[way]).eval().requires_grad_(False)
    x = torch.randn(3, 3, SIDE, SIDE)
    addresses = [(0, 0), (4, 7), (2, 15)]
    views = backward_views(module, _layer(module, "three"), x, addresses)
    assert list(views) == list(KINDS)
    for kind, view in views.items():
        for row, (unit, position) in enumerate(addresses):
            expected = _by_hand(module, x[row : row + 1], unit, position, kind)
            torch.testing.assert_close(view[row : row + 1], expected, rtol=1e-4, atol=1e-6)


def _hook_based_guided(module: nn.Module, read_at: str, x: Tensor, unit: int) -> Tensor:
    """Guided backpropagation as it is usually done: a hook on every rectifier module that is not in place."""
    kept: list[Tensor] = []
    hooks = [module.get_submodule(read_at).register_forward_hook(lambda m, i, output: kept.append(output))]
    for child in module.modules():
        if isinstance(child, nn.ReLU):
            child.inplace = False
            hooks.append(child.register_full_backward_hook(lambda m, below, above: (below[0].clamp(min=0),)))
    x = x.clone().requires_grad_()
    module(x)
    kept[0][0, unit].mean().backward()
    for hook in hooks:
        hook.remove()
    return x.grad


@pytest.mark.parametrize("name", ["squeezenet1_0", "alexnet", "vgg11"])
def test_guided_equals_hooks_on_the_rectifiers(name: str) -> None:
    network = load_network(find_source(f"{name}@random"))
    x = random_pictures(network, ["smooth"], torch.Generator().manual_seed(0))
    layer = _class_layer(network)
    (view,) = backward_views(network.module, layer, x, [(7, 0)], ["guided"]).values()
    expected = _hook_based_guided(network.module, layer.read_at, x, 7)
    torch.testing.assert_close(view, expected, rtol=1e-3, atol=1e-4 * float(view.abs().max()))


def _class_layer(network) -> LayerInfo:
    """The last layer, as `describe` would have it, without measuring windows."""
    traced = [layer for layer in trace(network.module, torch.zeros(1, *network.input_shape)) if layer.kind != "pool"][
        -1
    ]
    return _info(traced)


def _info(traced) -> LayerInfo:
    names = ("name", "kind", "output_shape", "unit_axis", "read_at", "units")
    window = {"top": 0, "left": 0, "height": 224, "width": 224, "position": (), "full": True}
    return LayerInfo(**{name: getattr(traced, name) for name in names}, order=0, window=window)


def test_residual_networks_have_all_three() -> None:
    network = load_network(find_source("resnet18@random"))
    x = random_pictures(network, ["white", "smooth"], torch.Generator().manual_seed(0))
    views = backward_views(network.module, _class_layer(network), x, [(3, 0), (900, 0)])
    sizes = [view.norm().item() for view in views.values()]
    assert all(0 < size < float("inf") for size in sizes)
    assert len(set(sizes)) == 3


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("vit_b_32", "NativeLayerNorm of module 'encoder.ln'"),
        ("efficientnet_b0", "Silu of module 'features.8.2'"),
        ("convnext_tiny", "NativeLayerNorm of module 'classifier.0'"),
        ("mobilenet_v3_small", "Hardswish of module 'classifier.1'"),
    ],
)
def test_where_they_are_not_defined_the_gradient_still_is(name: str, reason: str) -> None:
    network = load_network(find_source(f"{name}@random"))
    x = random_pictures(network, ["white"], torch.Generator().manual_seed(0))
    for kind in ("deconvolution", "guided"):
        with pytest.raises(UndefinedView, match=reason) as caught:
            backward_views(network.module, _class_layer(network), x, [(3, 0)], [kind])
        assert "gradient is" in caught.value.remedy
    (view,) = backward_views(network.module, _class_layer(network), x, [(3, 0)], ["gradient"]).values()
    expected = x.clone().requires_grad_()
    network.module(expected)[0, 3].backward()
    torch.testing.assert_close(view, expected.grad)


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.gate, self.last = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return self.last(x * self.gate(x).relu() if self.gating else self.scale * x)


def test_a_product_of_two_signals_is_not_defined_one_with_a_weight_is() -> None:
    module = Gated().eval()  # weights may need gradients
    x = torch.randn(1, 3, SIDE, SIDE)
    module.gating = False
    views = backward_views(module, _layer(module, "last"), x, [(1, 2)])
    torch.testing.assert_close(views["gradient"], views["guided"])  # no rectifier on the way
    module.requires_grad_(True)
    module.gating = True
    with pytest.raises(UndefinedView, match=r"Mul of module 'the network itself'"):
        backward_views(module, _layer(module, "last"), x, [(1, 2)])


def _state(module: nn.Module) -> list[object]:
    hooks = [h for m in module.modules() for h in (m._forward_hooks, m._forward_pre_hooks, m._backward_hooks)]
    return [*(len(h) for h in hooks), *(m.forward.__func__ for m in module.modules()), functional.relu, torch.relu]


def test_nothing_stays_behind() -> None:
    module = Written(nn.ReLU()).eval().requires_grad_(False)
    layer, x, before = _layer(module, "three"), torch.randn(1, 3, SIDE, SIDE), _state(module)
    expected = module(x)

    backward_views(module, layer, x, [(0, 0)])
    assert _state(module) == before

    for wrong in ((5, 0), (-1, 0), (0, 16), (0, -1)):
        with pytest.raises(UnitOutOfRange, match="5 units at 16 positions"):
            backward_views(module, layer, x, [wrong])
    with pytest.raises(UnknownLayer):
        backward_views(module, layer.model_copy(update={"read_at": "four"}), x, [(0, 0)])
    assert _state(module) == before

    broken = Written(lambda x: 1 / 0).eval()
    before_broken = _state(broken)
    with pytest.raises(ZeroDivisionError):
        backward_views(broken, layer, x, [(0, 0)])
    assert _state(broken) == before_broken
    assert torch.equal(module(x), expected)
    x.requires_grad_()
    module(x).sum().backward()
    plain = x.grad.clone()
    backward_views(module, layer, x, [(0, 0)])
    assert torch.equal(x.grad, plain)


def test_a_unit_that_sees_nothing_has_an_empty_view() -> None:
    class Blind(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.last = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.conv(x).detach())

    module = Blind().eval().requires_grad_(False)
    views = backward_views(module, _layer(module, "last"), torch.randn(1, 3, SIDE, SIDE), [(0, 0)])
    assert all(not view.any() for view in views.values())
