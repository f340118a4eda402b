"""The bundled demo network: twelve drawn things, a small convolutional network, weights in the package.

Importing this imports no torch; `build` does. `python -m deepvis.networks.demo.train` makes the weights again.
"""

from importlib import resources
from typing import TYPE_CHECKING

from deepvis.networks.demo.things import THINGS

if TYPE_CHECKING:
    from torch import nn

LABELS: tuple[str, ...] = tuple(THINGS)
"""Label i is what unit i of the layer `classes` answers for."""
INPUT_SHAPE: tuple[int, int, int] = (3, 64, 64)
"""(C, H, W) of one picture."""
MEAN: tuple[float, float, float] = (0.5, 0.5, 0.5)
"""Per channel, of pixels scaled to 0..1."""
STD: tuple[float, float, float] = (0.25, 0.25, 0.25)
"""Per channel, of pixels scaled to 0..1."""
WEIGHTS_FILE = "weights.safetensors"


def build() -> "nn.Module":
    """The trained network in evaluation mode: (N, 3, 64, 64) normalised float32 -> (N, 12) class scores.

    Raises:
        RuntimeError: the weights file does not fit the network.
    """
    from safetensors.torch import load

    from deepvis.networks.demo.network import make_network

    network = make_network(len(LABELS))
    network.load_state_dict(load(resources.files(__package__).joinpath(WEIGHTS_FILE).read_bytes()))
    return network.eval()
