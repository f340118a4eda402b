"""The architecture: five convolutions that see 5, 10, 20, 40 and 56 pixels, then one linear layer."""

from collections import OrderedDict

from torch import nn

CHANNELS = (16, 32, 48, 64, 96)
"""Units of conv1 to conv5."""
FINAL_SIDE = 4
"""Side of the map of conv5 that the linear layer sees, for inputs of 64 x 64 pixels."""


def make_network(classes: int) -> nn.Sequential:
    """An untrained network: (N, 3, 64, 64) normalised -> (N, classes) scores before the softmax.

    Average pooling instead of strides or maxima keeps the input gradient smooth. The linear layer sees where
    things are, not only whether they are there, so that a class's preferred picture is one thing in the middle.
    """
    stages = [
        *_stage(1, 3, CHANNELS[0], kernel=5, pool=True),  # 64 -> 32 pixels
        *_stage(2, CHANNELS[0], CHANNELS[1], kernel=3, pool=True),  # -> 16
        *_stage(3, CHANNELS[1], CHANNELS[2], kernel=3, pool=True),  # -> 8
        *_stage(4, CHANNELS[2], CHANNELS[3], kernel=3, pool=False),
        *_stage(5, CHANNELS[3], CHANNELS[4], kernel=3, pool=True),  # -> FINAL_SIDE
        ("flatten", nn.Flatten()),
        ("classes", nn.Linear(CHANNELS[4] * FINAL_SIDE**2, classes)),
    ]
    return nn.Sequential(OrderedDict(stages))


def _stage(number: int, inputs: int, outputs: int, *, kernel: int, pool: bool) -> list[tuple[str, nn.Module]]:
    layers: list[tuple[str, nn.Module]] = [
        (f"conv{number}", nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)),
        (f"norm{number}", nn.BatchNorm2d(outputs)),
        (f"relu{number}", nn.ReLU()),
    ]
    return [*layers, (f"pool{number}", nn.AvgPool2d(2))] if pool else layers
