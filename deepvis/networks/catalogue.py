"""Which networks there are, by name."""

import re
from functools import lru_cache

from core.errors import UnknownNetwork, nearest
from core.specs import NetworkSource
from deepvis.networks.factories import read_networks_file

HASH_DIGITS = 8


def catalogue(networks_file: str = "") -> tuple[NetworkSource, ...]:
    """Every network that can be asked for by name: the demo, the operator's own, every torchvision classifier.

    A torchvision classifier stands there as `alexnet` (its default weights), `alexnet@IMAGENET1K_V1` (each of its
    weights by name) and `alexnet@random` (weights drawn with seed 0).

    Raises:
        BadSetting: the networks file is wrong.
    """
    own = [
        NetworkSource(name=name, kind="factory", builder=entry.factory)
        for name, entry in read_networks_file(networks_file).items()
    ]
    taken = {source.name for source in own}
    shipped = (NetworkSource(name="demo", kind="bundled", builder="demo"), *_torchvision_sources())
    return (*own, *(source for source in shipped if source.name not in taken))


def find_source(name: str, networks_file: str = "") -> NetworkSource:
    """The catalogue's network of that name.

    Raises:
        UnknownNetwork: there is none; the nearest names are in its text.
        BadSetting: the networks file is wrong.
    """
    sources = {source.name: source for source in catalogue(networks_file)}
    if name not in sources:
        raise UnknownNetwork(f"There is no network named {name!r}.", nearest(name, sources))
    return sources[name]


def with_weights(base: NetworkSource, digest: str) -> NetworkSource:
    """The source of `base` with the checkpoint whose SHA-256 is `digest`, named NAME-<its first digits>."""
    changes = {"name": name_with_weights(base.name, digest), "weights": "", "checkpoint": digest}
    return NetworkSource.model_validate({**base.model_dump(), **changes})


def name_with_weights(name: str, digest: str) -> str:
    """What the network `name` is called with the checkpoint whose SHA-256 is `digest`."""
    return f"{re.sub(r'@.*', '', name)[: 63 - HASH_DIGITS]}-{digest[:HASH_DIGITS]}"


@lru_cache(maxsize=1)
def _torchvision_sources() -> tuple[NetworkSource, ...]:
    from deepvis.networks.classifiers import classifier_names, weights_names

    return tuple(
        NetworkSource(name=_joined(builder, weights), kind="torchvision", builder=builder, weights=weights)
        for builder in classifier_names()
        for weights in ("", *weights_names(builder), "random")
    )


def _joined(builder: str, weights: str) -> str:
    return f"{builder}@{weights}" if weights else builder
