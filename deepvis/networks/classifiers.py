"""torchvision's classifiers by name, with weights by name, their preprocessing and labels."""

import math
import os
import pickle
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from core.errors import BadNetwork, nearest
from deepvis.networks.network import Parts
from deepvis.networks.torchvision_shim import load_torchvision
from deepvis.networks.weightless import Weightless

# These two come with training heads, a slow initialisation that warns, and weights that expect re-scaled input.
_WITH_AUXILIARY_HEADS = ("googlenet", "inception_v3")
_AUXILIARY_HEADS = ("aux1", "aux2", "AuxLogits")
_DOWNLOAD_TIMEOUT_SECONDS = 30.0
_FORCE_TENSORS = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
_CLASSES = 1000  # of ImageNet, what every classifier is built for unless told otherwise

Shapes = Mapping[str, tuple[int, ...]]


def classifier_names() -> list[str]:
    """The builders of torchvision's classifiers, sorted."""
    models = load_torchvision().models
    return list(models.list_models(module=models))


def weights_names(builder: str) -> list[str]:
    """The names of the weights torchvision has for `builder`.

    Raises:
        BadNetwork: there is no such builder.
    """
    return [entry.name for entry in _weights(builder)]


def build_classifier(builder: str, weights: str = "") -> Parts:
    """A classifier with weights by name; "" is torchvision's default, "random" draws them with seed 0.

    Raises:
        BadNetwork: no such builder or weights, or the weights cannot be fetched.
    """
    if weights == "random":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return with_preprocessing(builder, make_module(builder))
    entry = _find_weights(builder, weights)
    try:
        with _patient_for(_DOWNLOAD_TIMEOUT_SECONDS), _tensors_only():
            module = load_torchvision().models.get_model(builder, weights=entry, progress=False)
    except OSError as error:
        raise _cannot_fetch(builder, entry, error) from error
    except pickle.UnpicklingError as error:
        raise BadNetwork(
            f"The file kept of the weights {entry.name} of {builder} is refused: it is no plain set of tensors.",
            f"Remove {Path(torch.hub.get_dir()) / 'checkpoints' / entry.url.rpartition('/')[2]}.",
        ) from error
    return _parts(_without_auxiliary_heads(module), entry)


def make_module(builder: str, shapes: Shapes | None = None) -> nn.Module:
    """The classifier with weights as its initialisation leaves them, on the current default device.

    Args:
        builder: torchvision's name of it.
        shapes: of a checkpoint that is to fit: its number of classes and, for a ViT, its image size are taken over.

    Raises:
        BadNetwork: there is no such builder.
    """
    if builder not in classifier_names():
        raise BadNetwork(f"torchvision has no classifier {builder!r}.", nearest(builder, classifier_names()))
    options: dict[str, Any] = {}
    if builder in _WITH_AUXILIARY_HEADS:
        options = {"aux_logits": False, "transform_input": True, "init_weights": shapes is None}
    if shapes:
        options |= _options_from(builder, shapes)
    module: nn.Module = load_torchvision().models.get_model(builder, weights=None, **options)
    return module


def with_preprocessing(builder: str, module: nn.Module) -> Parts:
    """`module` with its default weights' preprocessing, and with their labels if it has as many classes."""
    return _parts(module, _find_weights(builder, ""))


def drop_auxiliary(builder: str, names: Mapping[str, Any]) -> list[str]:
    """The names of a checkpoint that belong to heads which serve training only, and are not loaded."""
    if builder not in _WITH_AUXILIARY_HEADS:
        return []
    return [name for name in names if name.partition(".")[0] in _AUXILIARY_HEADS]


def _options_from(builder: str, shapes: Shapes) -> dict[str, Any]:
    with Weightless():
        expected = {name: tuple(t.shape) for name, t in make_module(builder).state_dict().items()}
    options: dict[str, Any] = {}
    head = [name for name, shape in expected.items() if len(shape) > 1 and shape[0] == _CLASSES][-1]
    found = shapes.get(head, ())
    if found[1:] == expected[head][1:] and found[0] not in (0, _CLASSES):
        options["num_classes"] = found[0]
    patches, patch = shapes.get("encoder.pos_embedding", ()), shapes.get("conv_proj.weight", ())
    if builder.startswith("vit_") and len(patches) == 3 and len(patch) == 4:
        options["image_size"] = math.isqrt(max(patches[1] - 1, 1)) * patch[-1]
    return options


def _parts(module: nn.Module, entry: Any) -> Parts:
    transforms = entry.transforms()
    side = getattr(module, "image_size", transforms.crop_size[0])  # a ViT takes one size only, its own
    labels = entry.meta.get("categories") or ()
    return Parts(
        module=module,
        input_shape=(len(transforms.mean), side, side),
        mean=transforms.mean,
        std=transforms.std,
        labels=labels if len(labels) == _last_width(module) else (),
    )


def _last_width(module: nn.Module) -> int:
    """Units of the last convolutional or linear layer, in order of definition."""
    heads = [m for m in module.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    return heads[-1].weight.shape[0]


def _weights(builder: str) -> Any:
    if builder not in classifier_names():
        raise BadNetwork(f"torchvision has no classifier {builder!r}.", nearest(builder, classifier_names()))
    return load_torchvision().models.get_model_weights(builder)


def _find_weights(builder: str, name: str) -> Any:
    entries = _weights(builder)
    if not name:
        return entries.DEFAULT
    if name not in entries.__members__:
        raise BadNetwork(f"{builder} has no weights {name!r}.", nearest(name, entries.__members__))
    return entries[name]


def _without_auxiliary_heads(module: nn.Module) -> nn.Module:
    for head in _AUXILIARY_HEADS:
        if hasattr(module, head):
            setattr(module, head, None)
            module.aux_logits = False  # type: ignore[assignment]  # a plain flag of torchvision's
    return module


@contextmanager
def _patient_for(seconds: float) -> Iterator[None]:
    """torch.hub sets no timeout: without one a network that swallows packets would hold a worker for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


@contextmanager
def _tensors_only() -> Iterator[None]:
    """torchvision has torch unpickle whatever its cache holds; this variable, read at each load, forbids it."""
    before = os.environ.get(_FORCE_TENSORS)
    os.environ[_FORCE_TENSORS] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_FORCE_TENSORS]
        else:
            os.environ[_FORCE_TENSORS] = before


def _cannot_fetch(builder: str, entry: Any, error: OSError) -> BadNetwork:
    return BadNetwork(
        f"The weights {entry.name} of {builder} could not be fetched from {entry.url}: {error}.",
        f"Give them as a file (--weights FILE), or take {builder}@random, whose weights are drawn at random.",
    )
