"""What computes, as the rest of a worker sees it.

Only `workers.networks`, which is what it is in earnest, imports torch: a parent must not, and whoever measures the
service alone need not.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from core.settings import Settings
from core.specs import DeviceKind, LayerInfo, NetworkInfo, NetworkSource, Recipe
from deepvis.preferred import PreferredPicture
from store import PictureStore


class Engine(Protocol):
    """Makes preferred pictures for one network; `deepvis.engine.Engine` says more."""

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
