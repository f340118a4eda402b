"""Networks by name: a module, its preprocessing and its labels. Importing this imports no torch; loading does."""

from pathlib import Path

from core.specs import NetworkSource
from deepvis.networks.catalogue import catalogue, find_source, with_weights
from deepvis.networks.network import Network

__all__ = ["Network", "catalogue", "find_source", "import_checkpoint", "load_network", "with_weights"]


def load_network(source: NetworkSource, *, checkpoint: Path | None = None, networks_file: str | None = None) -> Network:
    """Build a network and its weights, ready for looking at.

    Args:
        source: what to build, from `catalogue`, `find_source` or your own.
        checkpoint: the local file of `source.checkpoint`, whose SHA-256 that is; where the source names none, any
            weights file (safetensors, or a `.pth` read without unpickling objects).
        networks_file: the operator's networks file; None: the one of the settings.

    Raises:
        BadNetwork: it cannot be built, or its weights cannot be fetched.
        BadCheckpoint: the checkpoint is missing, another one, broken, unsafe or does not fit.
        BadSetting: the networks file is wrong.
    """
    from deepvis.networks.loading import load

    return load(source, checkpoint, networks_file)


def import_checkpoint(builder: str, path: Path, *, max_bytes: int) -> tuple[bytes, str]:
    """Read a weights file from outside, and give it back as safetensors with its SHA-256 (64 hex digits).

    Names, shapes and types are checked against `builder` before memory for them is taken; no object but tensors is
    ever unpickled.

    Args:
        builder: "demo", a torchvision model name, or `package.module:factory`.
        path: a `.safetensors` or `.pth` file.
        max_bytes: the largest file that is read.

    Raises:
        BadCheckpoint: the file is too large, broken, unsafe or does not fit; the reason is in its text.
        BadNetwork: there is no such builder, or it cannot build.
    """
    from deepvis.networks.loading import import_weights

    return import_weights(builder, path, max_bytes)
