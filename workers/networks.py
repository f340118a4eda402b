"""Networks loaded in this worker's child, kept between tasks; the `Engines` of a real worker.

Imports torch: use it in the child only.
"""

import hashlib
import logging
import tempfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import torch

from core.errors import BadCheckpoint, BadNetwork
from core.settings import Settings
from core.specs import DeviceKind, NetworkInfo, NetworkSource
from deepvis.engine import Engine
from deepvis.layers import describe
from deepvis.networks import catalogue, load_network
from store import PictureStore, key_of
from workers.device import choose_device, choose_threads

log = logging.getLogger(__name__)

ENGINES_KEPT = 2
"""Atlases of two networks may take turns without loading them each time; more would crowd the device's memory."""


class Networks:
    """Engines by network, the one used last kept longest."""

    def __init__(self, settings: Settings, store: PictureStore) -> None:
        self._settings = settings
        self._store = store
        self._device = choose_device(settings)
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        self.threads = choose_threads(settings)
        torch.set_num_threads(self.threads)
        self.kind = DeviceKind.GPU if self._device == "cuda" else DeviceKind.CPU
        self.device_name = torch.cuda.get_device_name().replace(" ", "-") if self._device == "cuda" else "cpu"
        self.versions: Mapping[str, str] = {"torch": torch.__version__, "torchvision": version("torchvision")}

    def catalogue(self) -> Sequence[NetworkSource]:
        """Every network that can be loaded here by name."""
        return catalogue(self._settings.networks_file)

    def describe(self, source: NetworkSource) -> NetworkInfo:
        """Find the network's layers, by running it."""
        return describe(self.engine(source).network)

    def engine(self, source: NetworkSource, weights_hash: str | None = None) -> Engine:
        """The network of `source` on this worker's device, loaded if it is not.

        Raises:
            BadNetwork: it cannot be built, or its weights are not those of `weights_hash`.
            BadCheckpoint: its weights cannot be used.
        """
        key = source.model_dump_json()
        engine = self._engines.get(key) or self._load(source)
        self._check(engine, weights_hash)
        self._engines[key] = engine
        self._engines.move_to_end(key)
        while len(self._engines) > ENGINES_KEPT:
            self._engines.popitem(last=False)
        return engine

    def clear(self) -> None:
        """Forget every network, to give their memory back."""
        self._engines.clear()

    def _load(self, source: NetworkSource) -> Engine:
        checkpoint = self._checkpoint(source.checkpoint) if source.checkpoint else None
        network = load_network(source, checkpoint=checkpoint, networks_file=self._settings.networks_file)
        engine = Engine(network, device=self._device, precision=self._settings.precision, threads=self.threads)
        log.info("network %s loaded on %s in %s", source.name, engine.device_name, engine.precision)
        return engine

    @staticmethod
    def _check(engine: Engine, weights_hash: str | None) -> None:
        name, found = engine.network.source.name, engine.network.weights_hash
        if weights_hash is not None and found != weights_hash:
            raise BadNetwork(
                f"The weights of {name!r} on this worker are not those it was described with "
                f"(expected {weights_hash[:12]}, got {found[:12]}).",
                "Give every worker the same weights, or the new weights a new name.",
            )

    def _checkpoint(self, key: str) -> Path:
        """Local file of a checkpoint in the store, copied here once; its name is its SHA-256."""
        path = self._settings.home_path / "checkpoints" / key
        if not path.exists() or _digest(path) != key:
            _write(path, self._fetch(key))
        return path

    def _fetch(self, key: str) -> bytes:
        data = self._store.get(key)
        if key_of(data) != key:
            raise BadCheckpoint(f"The checkpoint {key[:12]} in the store is damaged.", "Import it again.")
        return data


def _write(path: Path, data: bytes) -> None:
    """Put the file there whole or not at all; other workers may do the same at the same time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(data)
    Path(file.name).replace(path)


def _digest(path: Path) -> str:
    """SHA-256 of a file, which may be larger than what memory is free."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
