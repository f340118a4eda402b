"""The batched ascent against the plain transcription of the paper, one image at a time in float64."""

import numpy as np
import pytest
import torch

from core.recipes import NAMED_RECIPES
from core.specs import NormalisedStep, PixelMethod, Progress01Step, Recipe
from deepvis.ascent import pixel_ascent
from deepvis.batch import Batch, Outcome, Scale
from deepvis.layers import capture, layer_values
from deepvis.objectives import Objective
from deepvis.starts import generator, start_image
from tests.unit import paper
from tests.unit.small_networks import smooth_network

PIXEL_RECIPES = [r for r in NAMED_RECIPES.values() if isinstance(r.method, PixelMethod)]
EXTRA = [
    Recipe(name="progress01", method=PixelMethod(step=Progress01Step(early=0.1, late_multiple=0.5, max_rate=1e4))),
    Recipe(name="uniform", method=PixelMethod(start="uniform", step=NormalisedStep(rms=4, anneal=False))),
    Recipe(name="mean", method=PixelMethod(start="mean", clamp=False, benefit_percentile=30)),
    Recipe(name="channel", objective="channel", method=PixelMethod(value_percentile=10)),
]
STEPS = 9


def _ascend(recipe: Recipe, layer_index: int, units: list[int]) -> tuple[Outcome, list[tuple[np.ndarray, float, int]]]:
    """Ours in one float64 batch, and the reference image by image."""
    network, info = smooth_network()
    layer = info.layers[layer_index]
    module = network.module.double()
    shape = (3, layer.window.height, layer.window.width)
    mean, std = (torch.tensor(v, dtype=torch.float64).view(1, 3, 1, 1) for v in (network.mean, network.std))
    scale = Scale(mean, std)
    addresses = [("test", unit) for unit in units]
    sign = 1 if recipe.direction == "excite" else -1
    starts = [start_image(recipe.method.start, shape, scale.mean_pixel[0], generator(*a)).numpy() for a in addresses]
    with capture(module, layer.read_at) as reader:
        objective = Objective(
            lambda z: reader.run(z.double()), layer, layer.window.position, torch.tensor(units), recipe
        )
        ours = pixel_ascent(Batch(objective, scale, shape, addresses, lambda step: None), recipe.method)

        def reference(row: int) -> tuple[np.ndarray, float, int]:
            def activation(x: np.ndarray) -> tuple[float, np.ndarray]:
                leaf = torch.tensor(x)[None].requires_grad_()
                out = reader.run(leaf / (255 * std))
                value = layer_values(out, layer, layer.window.position, recipe.objective)[0, units[row]] * sign
                value.backward()
                return value.item(), leaf.grad[0].numpy()

            start = starts[row].astype(np.float64)
            return paper.ascend(start, scale.mean_pixel[0].numpy(), recipe.method, recipe.steps, activation)

        return ours, [reference(row) for row in range(len(units))]


@pytest.mark.parametrize("layer_index", [0, 1, 2])
@pytest.mark.parametrize("recipe", PIXEL_RECIPES + EXTRA, ids=lambda r: r.name)
def test_whole_runs_agree_with_the_paper(recipe: Recipe, layer_index: int) -> None:
    recipe = recipe.model_copy(update={"steps": STEPS})
    ours, reference = _ascend(recipe, layer_index, [0, 3, 4])
    mean = 255 * np.array([0.4, 0.42, 0.44]).reshape(3, 1, 1)
    for row, (best, _, best_step) in enumerate(reference):
        assert ours.best_step[row] == best_step
        np.testing.assert_allclose(ours.picture[row].numpy(), np.clip(best + mean, 0, 255), atol=1e-6)


def test_strongest_step_is_the_first_at_which_the_unit_leads_its_layer() -> None:
    ours, _ = _ascend(Recipe(steps=40), 2, [0, 1, 2, 3, 4])
    assert (ours.strongest_step >= 0).all()
    assert (ours.strongest_step < 40).all()
