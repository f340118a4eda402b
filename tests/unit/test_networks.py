"""Networks by name: the catalogue, loading, weights' hashes, torchvision beside a CPU-only torch."""

import socket
import subprocess
import sys
import urllib.error

import numpy as np
import pytest
import torch
from PIL import Image

from core.errors import BadNetwork, UnknownNetwork
from core.specs import NetworkSource
from deepvis.networks import catalogue, classifiers, find_source, load_network, torchvision_shim
from deepvis.networks.classifiers import classifier_names, make_module, weights_names, with_preprocessing
from deepvis.networks.loading import hash_weights
from deepvis.networks.weightless import Weightless
from deepvis.tracing import trace

# One of each family: the largest of a family are built of the same blocks.
FAMILIES = [
    "alexnet",
    "convnext_tiny",
    "densenet121",
    "efficientnet_b0",
    "efficientnet_v2_s",
    "googlenet",
    "inception_v3",
    "maxvit_t",
    "mnasnet1_0",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "regnet_x_400mf",
    "regnet_y_400mf",
    "resnet50",
    "resnext50_32x4d",
    "shufflenet_v2_x1_0",
    "squeezenet1_0",
    "swin_t",
    "swin_v2_t",
    "vgg11",
    "vgg11_bn",
    "vit_b_16",
    "wide_resnet50_2",
]


def run_python(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True, timeout=120
    ).stdout.strip()


def test_importing_the_package_imports_no_torch():
    assert run_python("import sys, deepvis, deepvis.networks; print('torch' in sys.modules)") == "False"


def test_torchvision_imports_whatever_torch_there_is():
    code = "from deepvis.networks.torchvision_shim import load_torchvision as l; print(len(l().models.list_models()))"
    assert int(run_python(code)) >= 121


def test_several_threads_may_import_torchvision_at_once():
    code = """
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from deepvis.networks.torchvision_shim import load_torchvision
import torch

start = Barrier(4)
def load(_):
    start.wait()
    return load_torchvision().models.alexnet.__name__

with ThreadPoolExecutor(4) as threads:
    print(*threads.map(load, range(4)))
"""
    assert run_python(code) == "alexnet alexnet alexnet alexnet"


def test_the_shim_is_for_one_failure_only(monkeypatch):
    def broken(name):
        raise RuntimeError("something else is wrong")

    monkeypatch.setattr(torchvision_shim.importlib, "import_module", broken)
    with pytest.raises(RuntimeError, match="something else"):
        torchvision_shim.load_torchvision()


def test_catalogue_has_the_demo_and_every_classifier_with_each_of_its_weights():
    names = [source.name for source in catalogue()]
    assert len(names) == len(set(names))
    assert names[0] == "demo"
    for builder in classifier_names():
        expected = {builder, f"{builder}@random", *(f"{builder}@{weights}" for weights in weights_names(builder))}
        assert expected <= set(names)


def test_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(UnknownNetwork, match="squeezenet1_0"):
        find_source("squeezenet10")


def test_every_classifier_builds():
    for builder in classifier_names():
        with Weightless():
            parts = with_preprocessing(builder, make_module(builder))
        assert len(parts.labels) == 1000, builder
        assert len(parts.mean) == len(parts.std) == parts.input_shape[0] == 3, builder


@pytest.mark.parametrize("builder", FAMILIES)
def test_every_family_is_traced_to_its_labelled_units(builder):
    with Weightless():
        module = make_module(builder).eval().to("meta")
    parts = with_preprocessing(builder, module)
    layers = trace(module, torch.empty(1, *parts.input_shape, device="meta"))
    assert layers[-1].units == 1000
    assert len({layer.name for layer in layers}) == len(layers)


def test_random_weights_are_the_same_every_time_and_leave_the_seed_alone():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, second = (load_network(find_source("squeezenet1_1@random")) for _ in range(2))
    assert first.weights_hash == second.weights_hash
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("name", ["googlenet@random", "inception_v3@random"])
def test_networks_with_training_heads_load_without_them(name):
    network = load_network(find_source(name))
    assert not [n for n, _ in network.module.named_modules() if n.lower().startswith("aux")]
    assert network.module.transform_input


def test_a_loaded_network_is_ready_to_be_looked_at():
    network = load_network(find_source("squeezenet1_0@random"))
    assert network.input_shape == (3, 224, 224)
    assert network.mean == (0.485, 0.456, 0.406)
    assert network.std == (0.229, 0.224, 0.225)
    assert network.labels[130] == "flamingo"
    assert not network.module.training
    assert not any(p.requires_grad for p in network.module.parameters())


def test_the_demo_network_knows_its_classes():
    network = load_network(find_source("demo"))
    with torch.no_grad():
        assert network.module(torch.zeros(2, *network.input_shape)).shape == (2, len(network.labels))


def test_the_hash_follows_names_values_and_buffers():
    plain = torch.nn.BatchNorm2d(2)
    moved, renamed = torch.nn.BatchNorm2d(2), torch.nn.Sequential(torch.nn.BatchNorm2d(2))
    moved.running_mean[0] = 1e-6
    assert hash_weights(plain) == hash_weights(torch.nn.BatchNorm2d(2))
    assert len({hash_weights(plain), hash_weights(moved), hash_weights(renamed)}) == 3


def test_weights_that_cannot_be_fetched_say_what_to_do(monkeypatch, tmp_path):
    def offline(*args, **kwargs):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", offline)
    monkeypatch.setattr("torch.hub.urlopen", offline)
    with pytest.raises(BadNetwork, match=r"no route to host.*--weights FILE.*alexnet@random"):
        load_network(find_source("alexnet"))


@pytest.mark.parametrize(
    ("builder", "weights", "reason"),
    [("alexnett", "", "alexnet"), ("alexnet", "IMAGENET1K_V9", "IMAGENET1K_V1"), ("raft_large", "random", "no class")],
)
def test_unknown_builders_and_weights(builder, weights, reason):
    with pytest.raises(BadNetwork, match=reason):
        load_network(NetworkSource(name="x", kind="torchvision", builder=builder, weights=weights))


def test_the_timeout_of_downloads_is_taken_back():
    before = socket.getdefaulttimeout()
    with pytest.raises(ZeroDivisionError), classifiers._patient_for(3.0):
        assert socket.getdefaulttimeout() == 3.0
        raise ZeroDivisionError
    assert socket.getdefaulttimeout() == before


@pytest.mark.shared
def test_trained_weights_from_a_file_recognise_a_photograph(shared_dir):
    source = NetworkSource(name="trained", kind="torchvision", builder="squeezenet1_0")
    network = load_network(source, checkpoint=shared_dir / "data/weights/squeezenet1_0_imagenet.safetensors")
    photo = next(path for path in sorted((shared_dir / "data/photos").iterdir()) if "flamingo" in path.name.lower())
    picture = Image.open(photo).convert("RGB").resize((224, 224))
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None] / 255
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (network.mean, network.std))
    assert "flamingo" in [network.labels[i] for i in network.module((pixels - mean) / std)[0].topk(5).indices]
