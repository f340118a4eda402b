"""The method on a really trained network: its class units' pictures are what the network itself takes for the class."""

from pathlib import Path

import pytest
import torch

from core.recipes import BOLD, FOURIER, SOFT, silencing
from core.specs import Recipe
from deepvis.engine import Engine, PreferredPicture
from deepvis.layers import describe
from deepvis.networks import Network
from tests.integration.squeezenet import trained_squeezenet

pytestmark = pytest.mark.shared

FLAMINGO, BALLOON, LEMON, PINEAPPLE = 130, 417, 951, 953
CLASSES = [FLAMINGO, BALLOON, LEMON, PINEAPPLE]


@pytest.fixture(scope="module")
def network(shared_dir: Path) -> Network:
    return trained_squeezenet(shared_dir)


@pytest.fixture(scope="module")
def engine(network: Network) -> Engine:
    return Engine(network)


def _logits(network: Network, picture: PreferredPicture) -> torch.Tensor:
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (network.mean, network.std))
    pixels = torch.tensor(picture.pixels).permute(2, 0, 1) / 255
    return network.module(((pixels - mean) / std)[None])[0]


@pytest.mark.parametrize("recipe", [FOURIER, BOLD, SOFT], ids=lambda r: r.name)
def test_the_network_recognises_its_classes_in_their_pictures(engine: Engine, recipe: Recipe) -> None:
    layer = next(layer for layer in describe(engine.network).layers if layer.labelled)
    recipe = recipe.model_copy(update={"steps": 30})
    for picture in engine.preferred_pictures(layer, recipe, [(unit, 0) for unit in CLASSES]):
        assert picture.strongest_step is not None
        assert int(_logits(engine.network, picture).argmax()) == picture.unit


def test_silencing_drives_a_class_below_all_noise(engine: Engine) -> None:
    layer = next(layer for layer in describe(engine.network).layers if layer.labelled)
    recipe = silencing(SOFT).model_copy(update={"steps": 10})
    (low,) = engine.preferred_pictures(layer, recipe, [(LEMON, 0)])
    (start,) = engine.preferred_pictures(layer, recipe.model_copy(update={"steps": 1}), [(LEMON, 0)])
    assert low.activation < start.activation
