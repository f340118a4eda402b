"""Networks that misbehave once they have been described: what the operator's own code may do to a worker."""

import os
import signal
import time
from pathlib import Path

import torch
from torch import Tensor, nn

TROUBLE = "DEEPVIS_TEST_TROUBLE"
"""Environment variable with the path of a file; networks behave as long as it is not there."""


def small() -> nn.Module:
    torch.manual_seed(0)  # a network has the same weights in every worker
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 8, 3))


def hungry() -> nn.Module:
    raise MemoryError("this network needs more than there is")


class Troubled(nn.Module):
    """A convolution that does `trouble` in its forward pass while the file of TROUBLE is there."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 8, 3)

    def forward(self, x: Tensor) -> Tensor:
        if Path(os.environ[TROUBLE]).exists():
            self.trouble()
        return self.conv(x)

    def trouble(self) -> None:
        raise NotImplementedError


class Deadly(Troubled):
    def trouble(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class Hanging(Troubled):
    def trouble(self) -> None:
        time.sleep(600)


class Sluggish(Troubled):
    """Of many layers, so that planning, which runs up to each of them, takes long."""

    def __init__(self) -> None:
        super().__init__()
        self.rest = nn.Sequential(*(nn.Conv2d(8, 8, 1) for _ in range(40)))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.rest(super().forward(x))
        return result

    def trouble(self) -> None:
        time.sleep(0.5)


def deadly() -> tuple[nn.Module, dict[str, object]]:
    return Deadly(), {"input_shape": (3, 16, 16)}


def hanging() -> tuple[nn.Module, dict[str, object]]:
    return Hanging(), {"input_shape": (3, 16, 16)}


def sluggish() -> tuple[nn.Module, dict[str, object]]:
    return Sluggish(), {"input_shape": (3, 16, 16)}
