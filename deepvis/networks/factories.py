"""Networks the operator registers: a TOML file names factories, each a function that returns a module.

[networks.textures]
factory = "mylab.models:make_textures"   # () -> nn.Module, or (nn.Module, {"mean": ..., "labels": ...})
input_shape = [1, 96, 96]                # the other keys are optional, and win over what the factory says
mean = [0.45]
std = [0.22]
labels_file = "textures.txt"             # one label a line, beside this file; or labels = ["bark", ...]
"""

import importlib
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, StringConstraints, ValidationError

from core.errors import BadNetwork, BadSetting
from core.specs import NETWORK_NAME, Spec
from deepvis.networks.network import Parts

DEFAULT_INPUT_SHAPE = (3, 224, 224)

Side = Annotated[int, Field(ge=1, le=8192)]
Deviation = Annotated[float, Field(gt=0)]


class FactoryEntry(Spec):
    """One `[networks.NAME]` table. None: what the factory says, else 3 x 224 x 224, mean 0, std 1, no labels."""

    factory: str = Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$", max_length=200)
    input_shape: tuple[Side, Side, Side] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[Deviation, ...] | None = None
    labels: tuple[str, ...] | None = None


class _NetworksFile(Spec):
    networks: dict[Annotated[str, StringConstraints(pattern=NETWORK_NAME)], FactoryEntry]


class _FactoryAnswer(Spec):
    """What a factory may say beside its module."""

    input_shape: tuple[Side, Side, Side] = DEFAULT_INPUT_SHAPE
    mean: tuple[float, ...] | None = None
    std: tuple[Deviation, ...] | None = None
    labels: tuple[str, ...] = ()


def read_networks_file(networks_file: str) -> dict[str, FactoryEntry]:
    """The operator's networks by name; none for an empty path.

    Raises:
        BadSetting: the file or a labels file cannot be read, or says something it cannot say.
    """
    if not networks_file:
        return {}
    path = Path(networks_file).expanduser()
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        for table in content.get("networks", {}).values():
            _read_labels_file(table, path.parent)
        return _NetworksFile.model_validate(content).networks
    except (OSError, ValueError, AttributeError, ValidationError) as error:
        remedy = 'It has tables like [networks.NAME] with factory = "package.module:factory"; see docs/networks.md.'
        raise BadSetting(f"The networks file {path} cannot be used: {_reason(error)}.", remedy) from error


def _read_labels_file(table: dict[str, Any], folder: Path) -> None:
    if "labels_file" in table:
        lines = (folder / table.pop("labels_file")).read_text(encoding="utf-8").splitlines()
        table["labels"] = [line.strip() for line in lines if line.strip()]


def find_factory(builder: str) -> Callable[[], Any]:
    """The function that `package.module:factory` names.

    Raises:
        BadNetwork: it cannot be imported.
    """
    module_name, _, name = builder.partition(":")
    try:
        factory: Callable[[], Any] = getattr(importlib.import_module(module_name), name)
    except Exception as error:  # a module may raise anything while it is imported
        raise _failed(builder, error) from error
    return factory


def _failed(builder: str, error: Exception) -> BadNetwork:
    remedy = "Install what it imports, or put its folder in PYTHONPATH." if isinstance(error, ImportError) else ""
    return BadNetwork(f"The factory {builder} failed: {_reason(error)}.", remedy)


def build_factory(builder: str, entry: FactoryEntry | None = None) -> Parts:
    """Call the factory `package.module:factory`; what `entry` says wins over what the factory says.

    Raises:
        BadNetwork: it cannot be imported, raises, or returns something else than a module (and a dictionary).
    """
    from torch import nn

    factory = find_factory(builder)
    try:
        result = factory()
    except Exception as error:  # it is the operator's code: whatever it raises is the reason
        raise _failed(builder, error) from error
    module, said = result if isinstance(result, tuple) and len(result) == 2 else (result, {})
    if not isinstance(module, nn.Module) or not isinstance(said, Mapping):
        got = type(result).__name__
        raise BadNetwork(f"The factory {builder} returned {got}.", "It returns an nn.Module, or (nn.Module, dict).")
    return _parts(builder, module if any(module.children()) else nn.Sequential(module), said, entry)


def _parts(builder: str, module: Any, said: Mapping[str, Any], entry: FactoryEntry | None) -> Parts:
    wins = entry.model_dump(exclude={"factory"}, exclude_none=True) if entry else {}
    try:
        answer = _FactoryAnswer.model_validate({**said, **wins})
    except ValidationError as error:
        raise BadNetwork(f"The factory {builder} says what cannot be: {_reason(error)}.") from error
    channels = answer.input_shape[0]
    return Parts(
        module=module,
        input_shape=answer.input_shape,
        mean=answer.mean if answer.mean is not None else (0.0,) * channels,
        std=answer.std if answer.std is not None else (1.0,) * channels,
        labels=answer.labels,
    )


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
    return f"{type(error).__name__}: {error}".rstrip(".")
