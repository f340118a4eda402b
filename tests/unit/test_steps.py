import pytest
import torch

from core.specs import ConstantStep, NormalisedStep, Progress01Step, ProgressStep
from deepvis.steps import step_rate

G = torch.tensor([[[[3.0, 4.0]]], [[[0.3, 0.4]]], [[[0.0, 0.0]]]])  # norms 5, 0.5, 0
A = torch.tensor([0.2, 0.9, 0.5])


@pytest.mark.parametrize(
    ("rule", "progress", "expected"),
    [
        (ConstantStep(rate=7), 0.5, [7, 7, 7]),
        (ProgressStep(desired=2, max_rate=5), 0.5, [2 / 25, 5, 0]),
        (Progress01Step(early=0.1, late_multiple=0.5, max_rate=1e9), 0.0, [0.1 / 25, 0.05 / 0.25, 0]),
        (NormalisedStep(rms=8), 0.0, [8 / (5 / 2**0.5), 8 / (0.5 / 2**0.5), 0]),
        (NormalisedStep(rms=8), 0.75, [2 / (5 / 2**0.5), 2 / (0.5 / 2**0.5), 0]),
        (NormalisedStep(rms=8, anneal=False), 0.75, [8 / (5 / 2**0.5), 8 / (0.5 / 2**0.5), 0]),
    ],
    ids=str,
)
def test_rates_per_image(rule: object, progress: float, expected: list[float]) -> None:
    rates = step_rate(rule, G, A, progress).flatten().tolist()
    assert rates == pytest.approx(expected)
