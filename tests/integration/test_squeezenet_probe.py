"""Real photographs through a really trained network: the probe against a plain loop, and what class units answer to."""

from pathlib import Path

import numpy as np
import pytest

from core.specs import LayerInfo, NetworkInfo
from deepvis.engine import Engine
from deepvis.inputs import Inputs, PictureFile, batches
from deepvis.layers import describe
from deepvis.networks import Network
from deepvis.probe import ProbeOptions
from deepvis.tallies import Ranking, Tally
from deepvis.unit_statistics import preferred_labels, unit_statistics
from tests.integration.squeezenet import trained_squeezenet
from tests.unit.plain_probe import PlainAnswers, plain_probe

pytestmark = pytest.mark.shared

K = 9
TOLERANCE = 1e-3


@pytest.fixture(scope="module")
def network(shared_dir: Path) -> Network:
    return trained_squeezenet(shared_dir)


@pytest.fixture(scope="module")
def info(network: Network) -> NetworkInfo:
    return describe(network)


@pytest.fixture(scope="module")
def inputs(network: Network, shared_dir: Path) -> list[Inputs]:
    """The photographs; number i is of class 5 i."""
    paths = sorted((shared_dir / "data" / "photos").iterdir())
    files = [PictureFile(number, 5 * number, path.read_bytes) for number, path in enumerate(paths)]
    return list(batches(files, 8, network.input_shape))


@pytest.fixture(scope="module")
def tallies(network: Network, info: NetworkInfo, inputs: list[Inputs]) -> dict[str, Tally]:
    engine, layers = Engine(network), _layers(info)
    options = ProbeOptions(k=K, lowest=True, rectified=engine.rectified_layers(layers))
    return engine.probe(layers, inputs, options)


def _layers(info: NetworkInfo) -> list[LayerInfo]:
    return [layer for layer in info.layers if layer.default]


def test_results_equal_a_plain_loop(
    network: Network, info: NetworkInfo, inputs: list[Inputs], tallies: dict[str, Tally]
) -> None:
    pictures = np.concatenate([batch.pixels for batch in inputs])
    assert len(pictures) == 200
    for name, plain in plain_probe(network, _layers(info), pictures).items():
        tally, answers = tallies[name], plain.answers.astype(np.float64)
        near = TOLERANCE * np.abs(answers).max()
        _assert_ranked(tally.top, plain, near, 1)
        _assert_ranked(tally.low, plain, near, -1)
        statistics = unit_statistics(tally)
        assert statistics.mean == pytest.approx(answers.mean(0), abs=near)
        assert statistics.deviation == pytest.approx(answers.std(0), abs=near)
        assert statistics.fraction_active == pytest.approx((answers > 0).mean(0), abs=0.01)
        r = answers.clip(0)
        with np.errstate(invalid="ignore"):
            sparseness = (1 - r.mean(0) ** 2 / (r**2).mean(0)) / (1 - 1 / 200)
        assert statistics.sparseness == pytest.approx(sparseness, abs=TOLERANCE, nan_ok=True)


def _assert_ranked(ranking: Ranking | None, plain: PlainAnswers, near: float, sign: int) -> None:
    """The plain order, except where neighbours are closer than the tolerance; the plain positions, but for ties."""
    assert ranking is not None
    answers, units = plain.answers, np.arange(len(ranking.images))
    expected = np.array([plain.ranked(unit, K, sign) for unit in units])
    of_images, of_expected = answers[ranking.images, units[:, None]], answers[expected, units[:, None]]
    assert ranking.answers == pytest.approx(of_expected, abs=near)
    differs = ranking.images != expected
    assert np.all(np.abs(of_images - of_expected)[differs] < near)
    assert differs.mean() < 0.01
    assert np.mean(ranking.positions == plain.positions[ranking.images, units[:, None]]) > 0.995


def test_class_units_answer_to_their_class(tallies: dict[str, Tally]) -> None:
    tally = list(tallies.values())[-1]
    right = np.mean([tally.top.images[5 * i, 0] == i for i in range(200)])
    preferred = list(preferred_labels(tally))
    prefer = np.mean([preferred[5 * i][0].label == 5 * i for i in range(200)])
    print(f"of 200 class units, {right:.0%} have their own class's photograph on top")
    assert right > 0.6
    assert prefer == right  # one photograph a class


def test_trained_units_are_hardly_ever_dead(tallies: dict[str, Tally]) -> None:
    dead = {name: int(unit_statistics(tally).dead.sum()) for name, tally in tallies.items()}
    assert sum(dead.values()) < 200
    assert all(tally.rectifies for tally in tallies.values())
