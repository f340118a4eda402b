"""Layers and units are discovered by following tensors; units are read where the method wants them."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from core.errors import BadNetwork, UnknownLayer
from core.specs import NetworkSource
from deepvis.layers import capture, centre_position, describe, layer_values
from deepvis.networks.network import Network
from deepvis.tracing import TracedLayer, trace
from tests.unit.small_networks import small_network


def network(module, input_shape=(3, 32, 32), labels=()):
    channels = input_shape[0]
    return Network(
        source=NetworkSource(name="x", kind="factory", builder="x:y"),
        module=module.eval().requires_grad_(False),
        input_shape=input_shape,
        mean=(0.5,) * channels,
        std=(0.25,) * channels,
        labels=tuple(labels),
        weights_hash="0" * 64,
    )


def traced(module, *shape):
    return {layer.name: layer for layer in trace(module.eval(), torch.randn(1, *(shape or (3, 32, 32))))}


class Forward(nn.Module):
    """Named submodules and a function that uses them."""

    def __init__(self, forward, **modules):
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, module)
        self._function = forward

    def forward(self, x):
        return self._function(self, x)


def conv(inputs, outputs, side=3, **options):
    return nn.Conv2d(inputs, outputs, side, **options)


class TestDiscovery:
    def test_forward_order_not_order_of_definition(self):
        module = Forward(lambda m, x: m.first(m.second(x)), first=conv(4, 5), second=conv(3, 4))
        assert list(traced(module)) == ["second", "first"]

    def test_a_repeated_module_is_counted_once_at_its_first_call(self):
        module = Forward(lambda m, x: m.shared(functional.max_pool2d(m.shared(x), 2)), shared=conv(3, 3))
        assert {name: layer.output_shape for name, layer in traced(module).items()} == {"shared": (3, 30, 30)}

    def test_modules_never_called_are_no_layers(self):
        assert list(traced(Forward(lambda m, x: m.a(x), a=conv(3, 4), unused=conv(3, 4)))) == ["a"]

    def test_functional_operations_are_no_layers(self):
        module = Forward(lambda m, x: functional.avg_pool2d(functional.relu(m.a(x)), 2), a=conv(3, 4))
        assert list(traced(module)) == ["a"]

    def test_what_is_not_computed_from_the_picture_is_no_layer(self):
        module = Forward(lambda m, x: m.a(x) + m.bias(torch.ones(1, 2)).mean(), a=conv(3, 4), bias=nn.Linear(2, 3))
        assert list(traced(module)) == ["a"]

    def test_units_of_a_linear_layer_are_on_its_last_axis(self):
        module = Forward(lambda m, x: m.a(x.flatten(2).transpose(1, 2)), a=nn.Linear(3, 7))
        layer = traced(module)["a"]
        assert (layer.output_shape, layer.unit_axis, layer.units) == ((1024, 7), 1, 7)

    def test_kinds(self):
        module = nn.Sequential(conv(3, 4), nn.GroupNorm(2, 4), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(900, 2))
        assert [layer.kind for layer in traced(module).values()] == ["conv", "norm", "pool", "linear"]

    def test_only_convolutions_and_linear_layers_by_default(self):
        module = nn.Sequential(conv(3, 4), nn.BatchNorm2d(4), nn.ReLU(True), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        info = describe(network(module))
        assert [(layer.kind, layer.default) for layer in info.layers] == [
            ("conv", True),
            ("norm", False),
            ("pool", False),
        ]
        assert [layer.order for layer in info.layers] == [0, 1, 2]
        assert info.parameters == 3 * 4 * 9 + 4 + 8

    def test_the_class_layer_is_the_last_with_as_many_units_as_labels(self):
        module = nn.Sequential(conv(3, 2), conv(2, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        labelled = [layer.name for layer in describe(network(module, labels=("cat", "dog"))).layers if layer.labelled]
        assert labelled == ["1"]

    def test_a_class_unit_of_a_map_is_the_class_score(self):
        module = nn.Sequential(conv(3, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        info = describe(network(module, labels=("cat", "dog"))).layers[0]
        assert (info.labelled, info.window.full, info.window.position) == (True, True, ())
        x = torch.randn(2, 3, 32, 32)
        with capture(module, info.read_at) as reader:
            values = layer_values(reader.run(x), info, info.window.position)
        torch.testing.assert_close(values, module(x))

    def test_a_transformer_shows_its_hidden_units_and_attention(self):
        encoder = nn.TransformerEncoderLayer(8, 2, 20, batch_first=True)
        module = Forward(
            lambda m, x: m.encoder(m.patches(x).flatten(2).mT), patches=conv(3, 8, 8, stride=8), encoder=encoder
        )
        found = {name: (layer.kind, layer.units) for name, layer in traced(module).items()}
        assert found["encoder.linear1"] == ("linear", 20)
        assert found["encoder.linear2"] == ("linear", 8)
        assert found["encoder.self_attn"] == ("attention", 8)
        assert traced(module)["encoder.linear1"].output_shape == (16, 20)

    def test_windows_folded_into_the_batch_keep_their_picture(self):
        def folded(m, x):
            windows = x.unflatten(2, (4, 8)).unflatten(4, (4, 8)).permute(0, 2, 4, 3, 5, 1)  # N 4 4 8 8 C
            return m.a(windows.reshape(-1, 64, 3))

        module = Forward(folded, a=nn.Linear(3, 5)).eval()
        layer = traced(module)["a"]
        assert (layer.output_shape, layer.unit_axis) == ((16, 64, 5), 2)
        x = torch.randn(3, 3, 32, 32, requires_grad=True)
        with capture(module, "a") as reader:
            values = layer_values(reader.run(x), layer, centre_position(layer.output_shape, layer.unit_axis))
        (gradient,) = torch.autograd.grad(values[1].sum(), x)
        assert gradient[1].any()
        assert not gradient[[0, 2]].any()

    def test_modules_with_nothing_to_show(self):
        with pytest.raises(BadNetwork, match="no layer"):
            trace(nn.ReLU(), torch.zeros(1, 3, 8, 8))

    def test_modules_that_do_not_run(self):
        with pytest.raises(BadNetwork, match=r"\(1, 3, 8, 8\).*channels"):
            trace(nn.Sequential(conv(4, 4)), torch.zeros(1, 3, 8, 8))


class TestConcatenation:
    def test_a_module_that_returns_a_concatenation(self):
        fire = Forward(lambda m, x: torch.cat([m.a(x), m.b(x)], 1), a=conv(3, 4, 1), b=conv(3, 6, 3, padding=1))
        layers = traced(nn.Sequential(fire, nn.ReLU(), conv(10, 2)))
        assert (layers["0"].kind, layers["0"].units) == ("concat", 10)
        assert list(layers) == ["0.a", "0.b", "0", "2"]

    def test_only_the_innermost_module_and_only_its_own_result(self):
        def block():
            return Forward(lambda m, x: torch.concat([m.a(x), x], dim=1), a=conv(3, 4, 1))

        layers = traced(nn.Sequential(nn.Sequential(block(), nn.Identity())))
        assert {name: layer.kind for name, layer in layers.items()} == {"0.0.a": "conv", "0.0": "concat"}

    @pytest.mark.parametrize("after", [lambda t: t.relu(), lambda t: t.relu_(), lambda t: t + 1])
    def test_not_when_something_came_after(self, after):
        block = Forward(lambda m, x: after(torch.cat([m.a(x), x], 1)), a=conv(3, 4, 1))
        assert "0" not in traced(nn.Sequential(block))

    def test_tokens_are_concatenated_along_another_axis_than_units(self):
        def with_token(m, x):
            tokens = m.a(x).flatten(2).transpose(1, 2)
            return torch.cat([torch.zeros(len(x), 1, 4), tokens], dim=1)

        layer = traced(nn.Sequential(Forward(with_token, a=conv(3, 4, 8, stride=8))))["0"]
        assert (layer.output_shape, layer.units) == ((17, 4), 4)


class TestWhereAUnitIsRead:
    def test_after_the_normalisation_that_consumes_it(self):
        module = nn.Sequential(conv(3, 4), nn.BatchNorm2d(4), nn.ReLU(inplace=True), conv(4, 4))
        layers = traced(module)
        assert (layers["0"].read_at, layers["3"].read_at) == ("1", "3")

    def test_names_and_places_do_not_matter(self):
        module = Forward(
            lambda m, x: m.bn1(m.conv2(m.conv1(x))), bn1=nn.BatchNorm2d(4), conv1=conv(3, 4), conv2=conv(4, 4)
        )
        layers = traced(module)
        assert (layers["conv1"].read_at, layers["conv2"].read_at) == ("conv1", "bn1")

    @pytest.mark.parametrize("between", [nn.ReLU(), nn.ReLU(inplace=True), nn.MaxPool2d(1)])
    def test_not_when_something_comes_between(self, between):
        assert traced(nn.Sequential(conv(3, 4), between, nn.BatchNorm2d(4)))["0"].read_at == "0"

    def test_an_identity_between_changes_nothing(self):
        assert traced(nn.Sequential(conv(3, 4), nn.Identity(), nn.BatchNorm2d(4)))["0"].read_at == "2"

    def test_a_second_consumer_changes_nothing(self):
        def both(m, x):
            made = m.a(x)
            return m.bn(made) + made

        assert traced(Forward(both, a=conv(3, 4), bn=nn.BatchNorm2d(4)))["a"].read_at == "bn"

    def test_a_copy_is_another_tensor(self):
        module = Forward(lambda m, x: m.bn(m.a(x).clone()), a=conv(3, 4), bn=nn.BatchNorm2d(4))
        assert traced(module)["a"].read_at == "a"

    def test_a_shared_normalisation_belongs_to_its_first_call(self):
        module = Forward(lambda m, x: m.bn(m.b(m.bn(m.a(x)))), a=conv(3, 4), b=conv(4, 4), bn=nn.BatchNorm2d(4))
        layers = traced(module)
        assert (layers["a"].read_at, layers["b"].read_at) == ("bn", "b")

    def test_a_shared_convolution_is_read_where_its_first_output_goes(self):
        module = Forward(lambda m, x: m.bn(m.a(m.a(x).relu())), a=conv(3, 3), bn=nn.BatchNorm2d(3))
        assert traced(module)["a"].read_at == "a"

    def test_other_normalisations_are_not_waited_for(self):
        assert traced(nn.Sequential(conv(3, 4), nn.GroupNorm(2, 4)))["0"].read_at == "0"

    def test_linear_layers_too(self):
        module = nn.Sequential(nn.Flatten(), nn.Linear(48, 5), nn.BatchNorm1d(5), nn.ReLU())
        assert traced(module, 3, 4, 4)["1"].read_at == "2"

    def test_in_place_operations_after_the_layer_do_not_reach_the_reader(self):
        module = nn.Sequential(conv(3, 4), nn.ReLU(inplace=True)).eval()
        x = torch.randn(2, 3, 8, 8)
        expected = module[0](x)
        with capture(module, "0") as reader:
            assert torch.equal(reader.run(x), expected)
        assert (expected < 0).any()


class TestCapture:
    def test_nothing_after_the_layer_is_computed(self):
        ran = []
        module = nn.Sequential(conv(3, 4), Forward(lambda m, x: ran.append(1)))
        with capture(module, "0") as reader:
            reader.run(torch.randn(1, 3, 8, 8))
        assert not ran

    def test_the_output_has_its_graph(self):
        x = torch.randn(2, 3, 8, 8, requires_grad=True)
        with capture(nn.Sequential(conv(3, 4)), "0") as reader:
            output = reader.run(x)
        output.sum().backward()
        assert x.grad.abs().sum() > 0

    def test_no_module_swallows_the_stop(self):
        def careful(m, x):
            try:
                return m.a(x)
            except Exception:
                return x

        with capture(Forward(careful, a=conv(3, 4)), "a") as reader:
            assert reader.run(torch.randn(1, 3, 8, 8)).shape == (1, 4, 6, 6)

    def hooks(self, module):
        return [hook for m in module.modules() for hook in (*m._forward_hooks, *m._forward_pre_hooks)]

    def test_no_hook_remains_after_success(self):
        module = nn.Sequential(conv(3, 4))
        with capture(module, "0") as reader:
            reader.run(torch.randn(1, 3, 8, 8))
            assert self.hooks(module)
        assert not self.hooks(module)

    def test_no_hook_remains_after_a_wrong_name(self):
        module = nn.Sequential(conv(3, 4))
        for name in ("1", ""):
            with pytest.raises(UnknownLayer), capture(module, name):
                pass
        assert not self.hooks(module)

    def test_no_hook_remains_after_a_module_that_raises(self):
        def failing(m, x):
            raise ZeroDivisionError

        module = nn.Sequential(Forward(failing), conv(3, 4))
        with pytest.raises(ZeroDivisionError), capture(module, "1") as reader:
            reader.run(torch.randn(1, 3, 8, 8))
        assert not self.hooks(module)

    def test_no_hook_remains_after_describing(self):
        module = nn.Sequential(conv(3, 4), nn.BatchNorm2d(4), conv(4, 4))
        describe(network(module))
        assert not self.hooks(module)

    def test_a_layer_that_is_not_reached(self):
        module = Forward(lambda m, x: m.a(x), a=conv(3, 4), b=conv(3, 4))
        with pytest.raises(BadNetwork, match="not reached"), capture(module, "b") as reader:
            reader.run(torch.randn(1, 3, 8, 8))


def a_layer(shape, axis):
    return TracedLayer(name="a", kind="conv", read_at="a", output_shape=shape, unit_axis=axis, upstream=frozenset())


class TestValues:
    @pytest.mark.parametrize(
        ("shape", "axis", "centre"),
        [
            ((8, 13, 13), 0, (6, 6)),
            ((8, 54, 27), 0, (27, 13)),
            ((7,), 0, ()),
            ((9, 8), 1, (4,)),  # 3 x 3 tokens
            ((10, 8), 1, (5,)),  # a class token, then 3 x 3
            ((197, 768), 1, (106,)),  # a class token, then 14 x 14: row 7, column 7
            ((12, 8), 1, (6,)),  # no grid
            ((7, 7, 96), 2, (3, 3)),
            ((1, 1, 5), 2, (0, 0)),
        ],
    )
    def test_every_kind_of_output(self, shape, axis, centre):
        layer = a_layer(shape, axis)
        assert centre_position(shape, axis) == centre
        output = torch.randn(3, *shape)
        for objective in ("centre", "channel"):
            every = layer_values(output, layer, centre, objective)
            assert every.shape == (3, layer.units)
        at_centre = output.movedim(axis + 1, 1)[(1, 2, *centre)]
        assert layer_values(output, layer, centre)[1, 2] == at_centre
        torch.testing.assert_close(
            layer_values(output, layer, centre, "channel")[1, 2], output[1].movedim(axis, 0)[2].mean()
        )


def test_layers_without_the_batch_in_front_are_left_out_and_named(caplog):
    class SequenceFirst(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches = nn.Conv2d(3, 4, 4, stride=4)
            self.hidden = nn.Linear(4, 6)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.hidden(self.patches(x).flatten(2).permute(2, 0, 1))  # (T, N, C)

    info = describe(small_network(SequenceFirst()))
    assert [layer.name for layer in info.layers] == ["patches"]
    assert "layer hidden is left out: its output (16, 1, 6)" in caplog.text
