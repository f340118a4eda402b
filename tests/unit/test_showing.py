"""What a viewer gets of a frame: only what was asked for, and backward views that are those of the method."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from core.errors import UnitOutOfRange, UnknownLayer
from core.live import LiveView
from core.specs import BackwardKind, NetworkInfo
from deepvis.activations import as_input, normalised
from deepvis.backward import backward_views
from deepvis.engine import Engine
from deepvis.layers import describe
from deepvis.networks import find_source, load_network
from deepvis.showing import find_layer, show
from deepvis.showing_back import Origin

IMAGE = Image.radial_gradient("L").convert("RGB").rotate(30)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(load_network(find_source("demo")), precision="float32")


@pytest.fixture(scope="module")
def info(engine: Engine) -> NetworkInfo:
    return describe(engine.network)


def size(data: bytes) -> tuple[int, int]:
    return Image.open(io.BytesIO(data)).size


def test_only_what_is_asked_for_is_made(engine: Engine, info: NetworkInfo) -> None:
    nothing = show(engine, info.layers, LiveView(top=0), IMAGE)
    assert not nothing.pictures
    assert set(nothing.header) == {"layer", "seconds"}
    layer = show(engine, info.layers, LiveView(layer="conv3", unit=7, grid=200), IMAGE)
    assert set(layer.pictures) == {"grid", "unit"}
    assert layer.header["grid"] == {"columns": 7, "rows": 7, "units": 48}
    assert len(layer.header["top"]) == 5


@pytest.mark.parametrize("kind", ["gradient", "deconvolution", "guided"])
@pytest.mark.parametrize("how", ["raw", "gray", "norm", "blurred"])
def test_backward_views(engine: Engine, info: NetworkInfo, kind: str, how: str) -> None:
    view = LiveView(layer="conv3", unit=7, backward=kind, shown_as=how)
    shown = show(engine, info.layers, view, IMAGE)
    assert shown.header["backward"] == {"layer": "conv3", "unit": 7}
    assert size(shown.pictures["backward"]) == (64, 64)


def test_the_unit_traced_back_can_be_frozen(engine: Engine, info: NetworkInfo) -> None:
    frozen = {"backward": "gradient", "from_layer": "classes", "from_unit": 2, "in_grid": True, "grid": 200}
    shown = show(engine, info.layers, LiveView(layer="conv2", **frozen), IMAGE)
    assert shown.header["backward"] == {"layer": "classes", "unit": 2}
    after = show(engine, info.layers, LiveView(layer="classes", **(frozen | {"from_layer": "conv2"})), IMAGE)
    assert "Nothing comes back from conv2" in after.header["backward"]["trouble"]
    assert "grid" in after.pictures


def test_signals_at_the_input_of_the_way_are_the_gradient(engine: Engine, info: NetworkInfo) -> None:
    """The gradient at a layer, sent on to the picture by hand, is the gradient at the picture."""
    x = normalised(engine, [as_input(IMAGE, engine.network.input_shape)])
    first, last = find_layer(info.layers, "conv1", 0), find_layer(info.layers, "classes", 4)
    at_picture, signals = Origin(engine, x, last, 4, 0).gradients(first)
    below = x.detach().requires_grad_()
    conv = engine.module.get_submodule("norm1")(engine.module.get_submodule("conv1")(below))
    (by_hand,) = torch.autograd.grad((conv[0] * signals).sum(), below)
    direct = backward_views(engine.module, last, x, [(4, 0)], [BackwardKind.GRADIENT])[BackwardKind.GRADIENT]
    np.testing.assert_allclose(at_picture.numpy(), direct[0].numpy(), rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(by_hand.numpy(), direct.numpy(), rtol=1e-3, atol=1e-6)


def test_unknown_layers_and_units(engine: Engine, info: NetworkInfo) -> None:
    with pytest.raises(UnknownLayer, match="conv1"):
        show(engine, info.layers, LiveView(layer="conv11"), IMAGE)
    with pytest.raises(UnitOutOfRange, match="0 to 15"):
        show(engine, info.layers, LiveView(layer="conv1", unit=16), IMAGE)
    with pytest.raises(UnitOutOfRange):
        show(engine, info.layers, LiveView(layer="conv1", backward="guided", from_layer="conv2", from_unit=32), IMAGE)
