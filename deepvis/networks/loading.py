"""From a source to a network ready to be looked at; and weights files from outside."""

import hashlib
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

from core.errors import BadCheckpoint, BadNetwork
from core.settings import load_settings
from core.specs import NetworkSource
from deepvis.networks import demo
from deepvis.networks.catalogue import name_with_weights
from deepvis.networks.checkpoints import Header, check_fits, check_numbers, read_header, read_state, unpacked_bytes
from deepvis.networks.classifiers import build_classifier, drop_auxiliary, make_module, with_preprocessing
from deepvis.networks.factories import FactoryEntry, build_factory, read_networks_file
from deepvis.networks.network import Network, Parts
from deepvis.networks.weightless import Weightless


def load(source: NetworkSource, checkpoint: Path | None, networks_file: str | None) -> Network:
    """See `deepvis.networks.load_network`."""
    if source.checkpoint and checkpoint is None:
        raise BadCheckpoint(f"{source.name} has its weights in a checkpoint, and its file was not given.")
    if source.checkpoint and checkpoint is not None:
        _check_digest(source.checkpoint, checkpoint)
    parts = _build_with(source, checkpoint, networks_file) if checkpoint else _build(source, networks_file)
    return _finish(source, parts)


def import_weights(builder: str, path: Path, max_bytes: int) -> tuple[bytes, str]:
    """See `deepvis.networks.import_checkpoint`."""
    _check_size(path, max_bytes)
    header = read_header(path)
    module = _empty_module(builder, header)
    check_fits(_needed(builder, header), module.state_dict(), builder)
    expected = module.state_dict()
    state = {n: t.to(expected[n].dtype).contiguous() for n, t in read_state(path).items() if n in expected}
    check_numbers(state, {name for name, _ in module.named_parameters()})
    data = save(state)
    return data, hashlib.sha256(data).hexdigest()


def hash_weights(module: nn.Module) -> str:
    """SHA-256 (64 hex digits) over the state_dict: names in order, each with its type, shape and bytes."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


# --- building ----------------------------------------------------------------------


def _build(source: NetworkSource, networks_file: str | None) -> Parts:
    match source.kind:
        case "bundled":
            return _demo(demo.build())
        case "torchvision":
            return build_classifier(source.builder, source.weights)
        case "factory":
            registered = load_settings().networks_file if networks_file is None else networks_file
            return build_factory(source.builder, _registered_as(source, read_networks_file(registered)))


def _registered_as(source: NetworkSource, entries: Mapping[str, FactoryEntry]) -> FactoryEntry | None:
    """The operator's entry for a factory's network; with a checkpoint of its own, that of the network it belongs to."""
    names = [n for n in entries if source.checkpoint and name_with_weights(n, source.checkpoint) == source.name]
    return entries.get(source.name) or next((entries[n] for n in names if entries[n].factory == source.builder), None)


def _demo(module: nn.Module) -> Parts:
    return Parts(module=module, input_shape=demo.INPUT_SHAPE, mean=demo.MEAN, std=demo.STD, labels=demo.LABELS)


def _build_with(source: NetworkSource, checkpoint: Path, networks_file: str | None) -> Parts:
    header = read_header(checkpoint)
    check_fits(_needed(source.builder, header), _empty_module(source.builder, header).state_dict(), source.builder)
    if source.kind == "torchvision":
        module = make_module(source.builder, {name: entry.shape for name, entry in header.items()})
        parts = with_preprocessing(source.builder, module)
    else:
        parts = _build(source, networks_file)
    _pour(read_state(checkpoint), parts.module)
    return parts


def _empty_module(builder: str, header: Header) -> nn.Module:
    """The builder's module without memory for its weights."""
    if builder == "demo":
        return demo.build()  # a few hundred kilobytes
    with Weightless(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a factory that loads weights is told that nothing is loaded here
        if ":" not in builder:
            return make_module(builder, {name: entry.shape for name, entry in header.items()})
        with suppress(BadNetwork):
            return build_factory(builder).module
    return build_factory(builder).module  # it needs real memory to build itself


def _needed(builder: str, header: Header) -> Header:
    surplus = set(drop_auxiliary(builder, header))
    return {name: entry for name, entry in header.items() if name not in surplus}


def _pour(state: dict[str, Tensor], module: nn.Module) -> None:
    for name, tensor in module.state_dict().items():
        if name in state:
            tensor.copy_(state[name])


def _check_digest(expected: str, path: Path) -> None:
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BadCheckpoint(f"The checkpoint {path.name} cannot be opened: {error.strerror}.") from error
    if found != expected:
        raise BadCheckpoint(
            f"The checkpoint {path.name} is another one than asked for: its SHA-256 is {found[:12]}..., "
            f"not {expected[:12]}....",
            "Import it again.",
        )


def _check_size(path: Path, max_bytes: int) -> None:
    size = unpacked_bytes(path)
    if size > max_bytes:
        raise BadCheckpoint(f"The checkpoint {path.name} has {size} bytes; at most {max_bytes} are read.")


def _finish(source: NetworkSource, parts: Parts) -> Network:
    channels = parts.input_shape[0]
    if len(parts.mean) != channels or len(parts.std) != channels:
        raise BadNetwork(
            f"{source.name} has {channels} channels, {len(parts.mean)} means and {len(parts.std)} standard deviations.",
            "Give one mean and one standard deviation for each channel.",
        )
    module = parts.module.eval().requires_grad_(False).to(device="cpu", dtype=torch.float32)
    return Network(
        source=source,
        module=module,
        input_shape=parts.input_shape,
        mean=tuple(map(float, parts.mean)),
        std=tuple(map(float, parts.std)),
        labels=tuple(parts.labels),
        weights_hash=hash_weights(module),
    )
