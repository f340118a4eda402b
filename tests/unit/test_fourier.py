import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from core.recipes import FOURIER, silencing
from core.specs import FourierMethod
from deepvis.engine import Engine
from deepvis.fourier import Canvas
from tests.unit.small_networks import smooth_network

CPU = torch.device("cpu")
STILL = torch.tensor([[0.0, 0.0, 0.0, 1.0]])


@pytest.mark.parametrize("shape", [(3, 227, 227), (1, 64, 64), (5, 7, 9), (3, 1, 1)])
def test_any_window_and_channel_count(shape: tuple[int, int, int]) -> None:
    canvas = Canvas.around(shape, FourierMethod(), CPU)
    picture = canvas.paint(torch.randn(2, *canvas.shape))
    assert picture.shape[:2] == (2, shape[0])
    assert picture.shape[2] >= shape[1]
    assert 0 <= picture.min() <= picture.max() <= 1
    assert canvas.centre(picture, shape).shape == (2, *shape)
    assert canvas.views(picture, shape, STILL.expand(2, 4)).shape == (2, *shape)


def test_the_unmoved_view_is_the_centre() -> None:
    shape = (3, 68, 68)  # the canvas, 72, has the same parity: the grids coincide
    canvas = Canvas.around(shape, FourierMethod(), CPU)
    picture = canvas.paint(torch.randn(1, *canvas.shape))
    assert canvas.height == 72
    torch.testing.assert_close(canvas.views(picture, shape, STILL), canvas.centre(picture, shape), atol=1e-4, rtol=0)


def test_views_shift_turn_and_scale_as_said() -> None:
    shape = (1, 68, 68)
    canvas = Canvas.around(shape, FourierMethod(), CPU)
    picture = torch.zeros(1, 1, 72, 72)
    picture[0, 0, 36, 46] = 1  # 10 pixels right of the centre

    def brightest(*move: float) -> tuple[int, int]:
        view = canvas.views(picture, shape, torch.tensor([move]))[0, 0]
        return divmod(int(view.argmax()), 68)

    y, x = brightest(0.0, 0.0, 0.0, 1.0)
    assert brightest(5 / 68, 0.0, 0.0, 1.0) == (y, x - 5)  # looking further right moves things left
    assert brightest(0.0, 5 / 68, 0.0, 1.0) == (y - 5, x)
    turned = brightest(0.0, 0.0, torch.pi / 2, 1.0)
    assert abs(turned[0] - 34) >= 9
    assert abs(turned[1] - 34) <= 1
    assert abs(brightest(0.0, 0.0, 0.0, 2.0)[1] - 39) <= 1  # seeing twice as much halves distances


def test_spectrum_falls_with_frequency() -> None:
    canvas = Canvas.around((3, 64, 64), FourierMethod(spectrum_power=1.0, spectrum_scale=4.0), CPU)
    assert canvas.amplitudes.mean().item() == pytest.approx(4.0)
    assert canvas.amplitudes[0, 8] == pytest.approx(2 * canvas.amplitudes[0, 16].item())
    assert canvas.amplitudes[0, 0] == canvas.amplitudes.max()


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_it_excites_and_silences(channels: int) -> None:
    network, info = smooth_network(channels)
    engine = Engine(network, precision="float32")
    recipe = FOURIER.model_copy(update={"steps": 40})
    for layer in info.layers:
        pairs = [(unit, 0) for unit in range(3)]
        up = list(engine.preferred_pictures(layer, recipe, pairs))
        down = list(engine.preferred_pictures(layer, silencing(recipe), pairs))
        for high, low in zip(up, down, strict=True):
            assert high.activation > low.activation
            assert high.pixels.shape == (layer.window.height, layer.window.width, channels)
            assert high.best_step == 39


class _Operations(TorchDispatchMode):
    """Notes the names of torch's operations."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.add(func.overloadpacket.__name__)
        return func(*args, **kwargs or {})


def test_painting_copies_nothing_to_the_device() -> None:
    """A copy from memory that is not pinned makes a GPU finish all before it, in every step."""
    canvas = Canvas.around((3, 32, 32), FourierMethod(), torch.device("meta"))
    with _Operations() as operations:
        canvas.paint(torch.empty(2, *canvas.shape, device="meta"))
    assert operations.names
    assert not operations.names & {"_to_copy", "copy_"}
