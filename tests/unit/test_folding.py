import copy

import pytest
import torch
from torch import nn

from core.recipes import SOFT
from deepvis.engine import Engine
from deepvis.folding import fold_normalisations
from deepvis.layers import capture, describe
from tests.unit.small_networks import small_network


def _normalised() -> nn.Sequential:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 6, 3, bias=False), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.Conv2d(6, 4, 3), nn.BatchNorm2d(4)
    )
    for _ in range(5):  # gives the normalisations statistics and scales worth folding
        module(torch.randn(8, 3, 16, 16) * 2 + 1)
    with torch.no_grad():
        module[1].weight.uniform_(-2, 2)
        module[4].bias.uniform_(-2, 2)
    return module.eval()


def test_units_read_the_same_after_folding() -> None:
    module = _normalised()
    folded = copy.deepcopy(module)
    assert fold_normalisations(folded, torch.randn(1, 3, 16, 16))
    assert isinstance(folded[1], nn.Identity)
    x = torch.randn(2, 3, 16, 16)
    for name in ("1", "4"):
        with capture(module, name) as before, capture(folded, name) as after:
            torch.testing.assert_close(before.run(x), after.run(x), rtol=1e-4, atol=1e-4)


class _RawOutputUsed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        return self.norm(y) + y


class _TwoNormalisations(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.first, self.second = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.conv(self.first(self.conv(x))))


@pytest.mark.parametrize("make", [_RawOutputUsed, _TwoNormalisations])
def test_what_cannot_be_folded_is_put_back(make: type[nn.Module]) -> None:
    torch.manual_seed(0)
    module = make()
    module(torch.randn(8, 3, 16, 16) * 3 + 2)
    module.eval()
    x = torch.randn(1, 3, 16, 16)
    before = module(x)
    assert not fold_normalisations(module, x)
    torch.testing.assert_close(module(x), before, rtol=0, atol=0)


def test_the_engine_reads_units_after_their_normalisation() -> None:
    network = small_network(_normalised())
    layer = describe(network).layers[0]
    assert layer.read_at == "1"
    (picture,) = Engine(network).preferred_pictures(layer, SOFT.model_copy(update={"steps": 5}), [(2, 0)])
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (network.mean, network.std))
    z = (torch.tensor(picture.pixels).permute(2, 0, 1)[None] / 255 - mean) / std
    expected = network.module[1](network.module[0](z))[0, 2][layer.window.position].item()
    assert picture.activation == pytest.approx(expected, rel=1e-4)
