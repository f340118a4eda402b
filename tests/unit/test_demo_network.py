"""The bundled demo network: its pictures come from a seed, its weights fit, and it knows what it was taught."""

import subprocess
import sys
from importlib import resources

import numpy as np
import pytest
import torch

from deepvis.networks import demo
from deepvis.networks.demo.pen import arc, rotation
from deepvis.networks.demo.scenes import SIDE, make_scene, make_scenes
from deepvis.networks.demo.train import RADIUS, accuracy, attack, augment, scenes_as_tensors

FRESH_SEED = 77_777


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    return demo.build()


def test_importing_the_demo_imports_no_torch():
    code = "import sys, deepvis.networks.demo; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_scenes_depend_on_seed_and_index_alone():
    pictures, labels = make_scenes(26, seed=3)
    again, _ = make_scenes(14, seed=3)
    other, _ = make_scenes(14, seed=4)
    assert pictures.shape == (26, SIDE, SIDE, 3)
    assert pictures.dtype == np.uint8
    assert labels.tolist() == [i % 12 for i in range(26)]
    np.testing.assert_array_equal(pictures[:14], again)
    assert all((a != b).any() for a, b in zip(again, other, strict=True))


def test_scenes_of_one_thing_vary():
    first, second = (make_scene(0, np.random.default_rng(seed)).astype(float) for seed in (0, 1))
    assert np.abs(first - second).mean() > 10


def test_pen_geometry_turns_clockwise_on_the_screen():
    np.testing.assert_allclose(rotation(90) @ (1, 0), (0, 1), atol=1e-12)
    np.testing.assert_allclose(arc(0, 90, (2, 1), (5, 5))[[0, -1]], [(7, 5), (5, 6)], atol=1e-12)


def test_labels_match_outputs(network):
    assert demo.INPUT_SHAPE == (3, SIDE, SIDE)
    scores = network(torch.zeros(2, *demo.INPUT_SHAPE))
    assert scores.shape == (2, len(demo.LABELS))
    assert len(set(demo.LABELS)) == 12


def test_build_is_ready_for_use_and_weights_are_small(network):
    assert not network.training
    assert all(value.isfinite().all() for value in network.state_dict().values())
    weights = resources.files("deepvis.networks.demo").joinpath(demo.WEIGHTS_FILE).read_bytes()
    assert len(weights) < 1_000_000


def test_weights_recognise_fresh_pictures(network):
    assert accuracy(network, *scenes_as_tensors(240, FRESH_SEED)) > 0.95


def test_adversary_stays_within_its_radius_and_raises_the_loss(network):
    torch.manual_seed(0)
    images, labels = scenes_as_tensors(24, FRESH_SEED)
    hard = attack(network, images, labels)
    losses = [torch.nn.functional.cross_entropy(network(x), labels) for x in (images, hard)]
    assert (hard - images).flatten(1).norm(dim=1).max() < RADIUS * 1.001
    assert losses[1] > losses[0]


def test_augmented_pictures_keep_their_shape_and_differ():
    images, _ = scenes_as_tensors(4, FRESH_SEED)
    torch.manual_seed(0)
    changed = augment(images)
    assert changed.shape == images.shape
    assert all((a != b).any() for a, b in zip(changed, images, strict=True))
