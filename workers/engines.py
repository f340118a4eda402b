"""What computes, as the rest of a worker sees it.

Only `workers.networks`, which is what it is in earnest, imports torch: a parent must not, and whoever measures the
service alone need not.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from core.settings import Settings
from core.specs import BackwardKind, DeviceKind, LayerInfo, NetworkInfo, NetworkSource, Recipe
from deepvis.preferred import PreferredPicture
from store import PictureStore

if TYPE_CHECKING:  # these import torch, or what only a pass over real images needs
    import numpy as np
    from numpy.typing import NDArray

    from deepvis.crops import Field
    from deepvis.inputs import Inputs
    from deepvis.pictures import Pixels
    from deepvis.probe import ProbeOptions
    from deepvis.tallies import Tally


class Engine(Protocol):
    """One network: makes preferred pictures, answers to real ones; `deepvis.engine.Engine` says more."""

    @property
    def device_name(self) -> str:
        """Of the device, for people."""
        ...

    @property
    def precision(self) -> str:
        """Of the ascent."""
        ...

    def seconds_per_image_step(self, layer: LayerInfo) -> float:
        """What a step of one image costs."""
        ...

    def preferred_pictures(
        self,
        layer: LayerInfo,
        recipe: Recipe,
        addresses: Sequence[tuple[int, int]],
        *,
        batch_size: int = 0,
        on_progress: Callable[[float], None] | None = None,
    ) -> Iterator[PreferredPicture]:
        """The pictures of (unit, seed) addresses, as they are ready."""
        ...

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the network's input."""
        ...

    @property
    def probe_batch_size(self) -> int:
        """Pictures of the network's input that fill a batch."""
        ...

    def seconds_per_probe_image(self, layers: Sequence[LayerInfo]) -> float:
        """What one image of a probe set costs."""
        ...

    def probe(
        self,
        layers: Sequence[LayerInfo],
        batches: Iterable["Inputs"],
        options: "ProbeOptions | None" = None,
        on_batch: Callable[["Inputs"], None] | None = None,
    ) -> dict[str, "Tally"]:
        """What the units answer to in a range of images, by layer name."""
        ...

    def rectified_layers(self, layers: Sequence[LayerInfo]) -> frozenset[str]:
        """Names of the layers that are read by rectifiers only."""
        ...

    def answers(self, layers: Sequence[LayerInfo], pixels: "Pixels") -> dict[str, "NDArray[np.float32]"]:
        """The answers (N, units) to pictures (N, H, W, C), by layer name."""
        ...

    def fields(self, layers: Sequence[LayerInfo]) -> dict[str, "Field"]:
        """The receptive fields of the layers' units, by layer name."""
        ...

    def backward(
        self,
        layer: LayerInfo,
        pixels: "Pixels",
        addresses: Sequence[tuple[int, int]],
        kinds: Sequence[BackwardKind] = (),
    ) -> dict[BackwardKind, "NDArray[np.float32]"]:
        """Backward views (N, C, H, W) of (unit, position) addresses on pictures (N, H, W, C)."""
        ...

    @property
    def fill(self) -> tuple[float, ...]:
        """The mean colour of the network's input, per channel, 0..1."""
        ...


class Engines(Protocol):
    """The engines of a worker, and what they run on."""

    kind: DeviceKind
    device_name: str  # for people, and in one word
    threads: int
    versions: Mapping[str, str]

    def catalogue(self) -> Sequence[NetworkSource]:
        """Every network that can be loaded here by name."""
        ...

    def engine(self, source: NetworkSource, weights_hash: str | None = None) -> Engine:
        """The network of `source`, loaded if it is not, with the weights of that hash."""
        ...

    def describe(self, source: NetworkSource) -> NetworkInfo:
        """Find the network's layers."""
        ...

    def clear(self) -> None:
        """Forget every network, to give their memory back."""
        ...


MakeEngines = Callable[[Settings, PictureStore], Engines]
"""Called once, in the worker's child."""
