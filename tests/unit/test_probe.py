"""The pass over images, against its plain twin."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import nn

from core.errors import BadNetwork, InvalidRequest
from core.specs import NetworkInfo
from deepvis.engine import Engine
from deepvis.inputs import NO_LABEL, Inputs, Skipped
from deepvis.layers import describe
from deepvis.networks import Network
from deepvis.probe import ProbeOptions
from deepvis.tallies import merge
from tests.unit.plain_probe import plain_probe
from tests.unit.small_networks import small_network

SIDE = 12


class Branches(nn.Module):
    """Joined branches, rectifiers in place, a module that is called twice, a class map."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 5, 3, padding=1), nn.Conv2d(3, 4, 1)
        self.norm = nn.BatchNorm2d(5)
        self.again = nn.Conv2d(9, 9, 3, stride=2, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.classes = nn.Conv2d(9, 6, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.cat([self.relu(self.norm(self.one(x))), self.relu(self.two(x))], 1)
        x = self.relu(self.again(self.relu(self.again(x))))
        return self.classes(x).mean((2, 3))


class Tokens(nn.Module):
    """Units on the last axis; windows folded into the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.mix, self.head = nn.Conv2d(3, 6, 4, stride=4), nn.Linear(6, 7), nn.Linear(7, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)  # (N, 9, 6)
        x = self.mix(x.reshape(-1, 3, 6)).reshape(len(x), 9, 7)  # three windows of three tokens
        return self.head(torch.relu(x).mean(1))


def _network(module: type[nn.Module] = Branches) -> tuple[Network, NetworkInfo]:
    torch.manual_seed(1)
    built = module()
    for norm in (m for m in built.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    network = small_network(built, 3, SIDE, labels=tuple("abcdef") if module is Branches else ())
    return network, describe(network)


def _pictures(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE, 3), np.uint8)


def _batches(pictures: np.ndarray, size: int = 4, first: int = 0) -> list[Inputs]:
    numbers = np.arange(first, first + len(pictures))
    return [
        Inputs(pictures[i : i + size], numbers[i : i + size], numbers[i : i + size] % 3 if first == 0 else numbers[:0])
        for i in range(0, len(pictures), size)
    ]


@pytest.mark.parametrize("module", [Branches, Tokens])
def test_it_equals_a_plain_loop(module: type[nn.Module]) -> None:
    network, info = _network(module)
    pictures = _pictures(21)
    tallies = Engine(network).probe(info.layers, _batches(pictures), ProbeOptions(k=4, lowest=True))
    assert list(tallies) == [layer.name for layer in info.layers]
    expected_of = plain_probe(network, info.layers, pictures)
    for layer in info.layers:
        plain, tally = expected_of[layer.name], tallies[layer.name]
        for unit in range(layer.units):
            for ranking, sign in ((tally.top, 1), (tally.low, -1)):
                expected = plain.ranked(unit, 4, sign)
                assert ranking.images[unit].tolist() == expected, (layer.name, unit)
                assert ranking.answers[unit] == pytest.approx(plain.answers[expected, unit], rel=1e-4, abs=1e-5)
                assert ranking.positions[unit].tolist() == plain.positions[expected, unit].tolist()
        assert tally.total == pytest.approx(plain.answers.sum(0), rel=1e-4, abs=1e-4)
        assert tally.squares == pytest.approx((plain.answers**2).sum(0), rel=1e-4, abs=1e-4)
        own = np.array([plain.answers[i::3].sum(0) for i in range(3)])
        assert tally.label_totals == pytest.approx(own, rel=1e-4, abs=1e-4)


def test_the_sample_keeps_its_answers() -> None:
    network, info = _network()
    pictures = _pictures(9)
    tallies = Engine(network).probe(info.layers, _batches(pictures), ProbeOptions(sample=frozenset({1, 2, 7, 700})))
    for name, plain in plain_probe(network, info.layers, pictures[[1, 2, 7]]).items():
        assert tallies[name].sample.tolist() == [1, 2, 7]
        assert tallies[name].profile == pytest.approx(plain.answers, rel=1e-4, abs=1e-5)


def test_shards_merge_to_the_whole() -> None:
    network, info = _network()
    engine, batches = Engine(network), _batches(_pictures(20))
    whole = engine.probe(info.layers, batches)
    parts = [engine.probe(info.layers, batches[i:j]) for i, j in ((2, 3), (0, 2), (3, 5))]
    for name, tally in whole.items():
        merged = merge(*(part[name] for part in parts))
        assert np.array_equal(merged.top.images, tally.top.images)
        assert np.array_equal(merged.top.answers, tally.top.answers)
        assert np.array_equal(merged.histogram, tally.histogram)
        assert merged.ranges.tolist() == [[0, 20]]


def test_rectified_layers_are_known() -> None:
    network, info = _network()
    engine = Engine(network)
    rectified = engine.rectified_layers(info.layers)
    assert rectified == {"one", "norm", "two", "again"}
    tallies = engine.probe(info.layers, _batches(_pictures(4)), ProbeOptions(rectified=rectified))
    assert [name for name, tally in tallies.items() if tally.rectifies] == [
        layer.name for layer in info.layers if layer.name in rectified
    ]


def test_answers_to_single_pictures_are_those_of_the_pass() -> None:
    network, info = _network()
    engine, pictures = Engine(network), _pictures(3)
    tallies = engine.probe(info.layers, _batches(pictures, 3), ProbeOptions(sample=frozenset(range(3))))
    for name, answers in engine.answers(info.layers, pictures).items():
        assert np.array_equal(answers, tallies[name].profile)


def test_skipped_pictures_count_for_nothing_but_were_looked_at() -> None:
    network, info = _network()
    pictures = _pictures(4)
    (batch,) = _batches(pictures[:1])
    gone = Inputs(
        pictures[:0], np.zeros(0, np.int64), np.zeros(0, np.int64), (Skipped(3, "broken"), Skipped(5, "gone"))
    )
    tally = Engine(network).probe(info.layers[:1], [batch, gone])[info.layers[0].name]
    assert tally.ranges.tolist() == [[0, 6]]
    assert set(tally.count) == {1}
    nothing = Engine(network).probe(info.layers[:1], [gone])[info.layers[0].name]
    assert nothing.ranges.tolist() == [[3, 6]]
    assert not nothing.count.any()


def test_images_without_labels_have_none() -> None:
    network, info = _network()
    batch = Inputs(_pictures(4), np.arange(4), np.array([7, NO_LABEL, 2, NO_LABEL]))
    tally = Engine(network).probe(info.layers[:1], [batch])[info.layers[0].name]
    assert tally.labels.tolist() == [2, 7]
    assert tally.label_counts.tolist() == [[1] * tally.units] * 2


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"k": 0}, "top 0 images"),
        ({"k": 1_000_000}, "1 to 100"),
        ({"sample": frozenset(range(1025))}, "at most 1024"),
    ],
)
def test_wishes_out_of_range_are_refused(options: dict[str, object], reason: str) -> None:
    with pytest.raises(InvalidRequest, match=reason):
        ProbeOptions(**options)


def test_nothing_to_probe_is_refused() -> None:
    network, info = _network()
    with pytest.raises(InvalidRequest, match="no pictures"):
        Engine(network).probe(info.layers, [])
    with pytest.raises(InvalidRequest, match="no layers"):
        Engine(network).probe([], _batches(_pictures(2)))


def test_images_out_of_order_are_refused() -> None:
    network, info = _network()
    first, second = _batches(_pictures(8))
    with pytest.raises(ValueError, match="ascending"):
        Engine(network).probe(info.layers, [second, first])


class Failing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)
        self.broken = self.skips = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.one(x)
        if self.broken:
            raise RuntimeError("broken")
        return x if self.skips else self.two(x)


def _hooks(module: nn.Module) -> Sequence[object]:
    return [hook for m in module.modules() for hook in (*m._forward_hooks.values(), *m._forward_pre_hooks.values())]


def test_no_hook_stays() -> None:
    network, info = _network(Failing)
    engine, batches = Engine(network), _batches(_pictures(4))
    engine.probe(info.layers, batches)
    assert not _hooks(network.module)
    network.module.skips = True
    with pytest.raises(BadNetwork, match="'two' is not reached"):
        engine.probe(info.layers, batches)
    assert not _hooks(network.module)
    network.module.broken = True
    with pytest.raises(RuntimeError, match="broken"):
        engine.probe(info.layers, batches)
    assert not _hooks(network.module)


def test_a_picture_costs_time() -> None:
    network, info = _network()
    assert 0 < Engine(network).seconds_per_probe_image(info.layers) < 1


class Narrow(nn.Conv2d):
    """Runs out of memory above three images."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) > 3:
            raise MemoryError
        return super().forward(x)


def _narrow() -> Network:
    """As `_network`, short of memory when some layers have been heard already."""
    network, _ = _network()
    network.module.two.__class__ = Narrow
    return network


def test_a_batch_that_does_not_fit_goes_in_halves_and_counts_once() -> None:
    batches, options = _batches(_pictures(16), 8), ProbeOptions(k=4, lowest=True, sample=frozenset(range(16)))
    network, info = _network()
    whole = Engine(network).probe(info.layers, batches, options)
    for name, tally in Engine(_narrow()).probe(info.layers, batches, options).items():
        assert np.array_equal(tally.top.images, whole[name].top.images)
        assert np.array_equal(tally.count, whole[name].count)
        assert tally.profile == pytest.approx(whole[name].profile, rel=1e-4, abs=1e-5)


def test_backward_views_that_do_not_fit_go_in_halves() -> None:
    pictures, addresses = _pictures(16), [(0, 0)] * 16
    network, info = _network()
    expected = Engine(network).backward(info.layers[-1], pictures, addresses)
    for kind, views in Engine(_narrow()).backward(info.layers[-1], pictures, addresses).items():
        assert views == pytest.approx(expected[kind], rel=1e-4, abs=1e-6)
