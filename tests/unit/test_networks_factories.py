"""Networks that the operator registers: any module, any number of channels."""

import pytest
import torch
from torch import nn

from core.errors import BadNetwork, BadSetting
from core.specs import NetworkSource
from deepvis.layers import describe
from deepvis.networks import catalogue, find_source, load_network


def gray():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 14 * 14, 2))


def satellite():
    module = nn.Sequential(
        nn.Conv2d(5, 4, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    )
    return module, {"input_shape": (5, 32, 48), "mean": [0.1] * 5, "std": [0.3] * 5, "labels": ["a", "b", "c"]}


def single():
    return nn.Conv2d(3, 2, 3)


def nonsense():
    return "no module"


def failing():
    raise KeyError("weights are gone")


def source(factory, name="mine"):
    return NetworkSource(name=name, kind="factory", builder=f"{__name__}:{factory}")


@pytest.fixture
def networks_file(tmp_path):
    def write(text):
        path = tmp_path / "networks.toml"
        path.write_text(text)
        return str(path)

    return write


def test_grayscale_from_the_file_alone(networks_file, tmp_path):
    (tmp_path / "labels.txt").write_text("cat\n\ndog\n")
    registered = networks_file(
        f'[networks.gray]\nfactory = "{__name__}:gray"\ninput_shape = [1, 16, 16]\nmean = [0.5]\nstd = [0.2]\n'
        'labels_file = "labels.txt"\n'
    )
    network = load_network(find_source("gray", registered), networks_file=registered)
    assert network.input_shape == (1, 16, 16)
    assert network.labels == ("cat", "dog")
    layers = describe(network).layers
    assert [(layer.kind, layer.units, layer.labelled) for layer in layers] == [("conv", 4, False), ("linear", 2, True)]
    assert (layers[0].window.height, layers[0].window.width) == (3, 3)


def test_five_channels_from_the_factory():
    network = load_network(source("satellite"), networks_file="")
    assert (network.mean, network.std) == ((0.1,) * 5, (0.3,) * 5)
    info = describe(network)
    assert info.input_shape == (5, 32, 48)
    assert info.layers[0].output_shape == (4, 15, 23)
    assert (info.layers[0].window.top, info.layers[0].window.left) == (14, 22)


def test_the_file_wins_over_the_factory(networks_file):
    registered = networks_file(f'[networks.mine]\nfactory = "{__name__}:satellite"\nlabels = ["x", "y", "z"]\n')
    assert load_network(source("satellite"), networks_file=registered).labels == ("x", "y", "z")


def test_the_file_of_the_settings_is_read(networks_file, monkeypatch):
    registered = networks_file(f'[networks.mine]\nfactory = "{__name__}:satellite"\nlabels = ["x", "y", "z"]\n')
    monkeypatch.setenv("DEEPVIS_NETWORKS_FILE", registered)
    assert load_network(source("satellite")).labels == ("x", "y", "z")


def test_an_operators_network_may_take_a_shipped_name(networks_file):
    registered = networks_file(f'[networks.alexnet]\nfactory = "{__name__}:gray"\n')
    assert find_source("alexnet", registered).kind == "factory"
    names = [one.name for one in catalogue(registered)]
    assert len(names) == len(set(names))


def test_a_single_layer_is_a_network_too():
    assert [layer.name for layer in describe(load_network(source("single"), networks_file="")).layers] == ["0"]


@pytest.mark.parametrize(
    ("factory", "reason"),
    [("nonsense", "returned str"), ("failing", "weights are gone"), ("absent", "no attribute 'absent'")],
)
def test_factories_that_fail(factory, reason):
    with pytest.raises(BadNetwork, match=reason):
        load_network(source(factory), networks_file="")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[networks.x]\nfactory = 'nocolon'", "factory"),
        ("[networks.x]\nfactory = 'a:b'\nmeen = [1.0]", "meen"),
        ("[networks.x]\nfactory = 'a:b'\nstd = [0.0]", "std"),
        ("[networks.'bad name']\nfactory = 'a:b'", "bad name"),
        ("[networks.x]\nfactory = 'a:b'\nlabels_file = 'absent.txt'", "absent.txt"),
        ("networks = 3", "networks"),
        ("not toml", "networks.toml"),
    ],
)
def test_a_wrong_file_says_what_is_wrong(networks_file, text, reason):
    with pytest.raises(BadSetting, match=reason):
        catalogue(networks_file(text))


def test_a_file_that_is_not_there():
    with pytest.raises(BadSetting, match="absent"):
        catalogue("/absent.toml")


def test_means_that_do_not_fit_the_channels(networks_file):
    registered = networks_file(
        f'[networks.mine]\nfactory = "{__name__}:gray"\ninput_shape = [1, 16, 16]\nmean = [0, 0]'
    )
    with pytest.raises(BadNetwork, match="1 channels, 2 means"):
        load_network(source("gray"), networks_file=registered)


def test_networks_that_do_not_run_on_their_own_shape(networks_file):
    registered = networks_file(f'[networks.mine]\nfactory = "{__name__}:gray"\ninput_shape = [3, 16, 16]')
    with pytest.raises(BadNetwork, match=r"\(1, 3, 16, 16\)"):
        describe(load_network(source("gray"), networks_file=registered))


def test_modules_are_left_without_gradients():
    module = load_network(source("gray"), networks_file="").module
    assert not any(p.requires_grad for p in module.parameters())
    assert torch.is_grad_enabled()
