"""SqueezeNet with really trained weights, where they are there."""

import hashlib
from pathlib import Path

from core.specs import NetworkSource
from deepvis.networks import Network, load_network


def trained_squeezenet(shared_dir: Path) -> Network:
    path = shared_dir / "data" / "weights" / "squeezenet1_0_imagenet.safetensors"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    source = NetworkSource(name="squeezenet", kind="torchvision", builder="squeezenet1_0", checkpoint=digest)
    return load_network(source, checkpoint=path)
