"""Weights from files that nobody vouches for: looked at first, read second, never unpickled into objects."""

import pickle
import re
import zipfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from core.errors import BadCheckpoint
from deepvis.networks.pickles import check_pickles

T = TypeVar("T")

_FLOATS = ("F64", "F32", "F16", "BF16")
_TORCH_FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
_WRAPPERS = ("state_dict", "model_state_dict", "model")
_MOST_HEADER_BYTES = 16 * 1024 * 1024  # of safetensors: about a hundred bytes a tensor
_COUNTER = "num_batches_tracked"  # of batch normalisation: counts training steps, absent in old checkpoints


@dataclass(frozen=True)
class Entry:
    """What a checkpoint says of one tensor before any of it is read."""

    shape: tuple[int, ...]
    floating: bool


Header = dict[str, Entry]


def unpacked_bytes(path: Path) -> int:
    """How large a checkpoint is, once its parts are unpacked if it is an archive.

    Raises:
        BadCheckpoint: the file is missing or broken.
    """
    _first_bytes(path)
    return _guarded(path, _unpacked_bytes)


def read_header(path: Path) -> Header:
    """Names, shapes and types of a checkpoint's tensors; no memory is taken for them.

    Raises:
        BadCheckpoint: the file is missing, broken, or holds more than tensors.
    """
    if _is_safetensors(path):
        return _guarded(path, _safetensors_header)
    _guarded(path, check_pickles)
    return {
        name: Entry(tuple(tensor.shape), tensor.dtype in _TORCH_FLOATS)
        for name, tensor in _guarded(path, _torch_shapes).items()
    }


def read_state(path: Path) -> dict[str, Tensor]:
    """A checkpoint's tensors by name, on the CPU. Check its header first.

    Raises:
        BadCheckpoint: the file is missing, broken, or holds more than tensors.
    """
    return _guarded(path, _safetensors_state if _is_safetensors(path) else _torch_state)


def check_fits(header: Header, expected: Mapping[str, Tensor], builder: str) -> None:
    """See that a checkpoint has what the network needs, in the right shapes and types, and nothing else.

    Raises:
        BadCheckpoint: it does not; every kind of difference is named.
    """
    missing = [n for n in expected if n not in header and not n.endswith(_COUNTER)]
    surplus = [n for n in header if n not in expected]
    shapes = [
        f"{n} is {_times(header[n].shape)} instead of {_times(expected[n].shape)}"
        for n in header.keys() & expected.keys()
        if header[n].shape != tuple(expected[n].shape)
    ]
    types = [n for n in header.keys() & expected.keys() if header[n].floating != expected[n].is_floating_point()]
    problems = [
        *_problem("missing", missing),
        *_problem("not part of the network", surplus),
        *_problem("wrong shape", sorted(shapes)),
        *_problem("wrong type of number", sorted(types)),
    ]
    if problems:
        raise BadCheckpoint(f"The checkpoint does not fit {builder}: {'; '.join(problems)}.")


def check_numbers(state: Mapping[str, Tensor], parameters: Collection[str]) -> None:
    """See that no weight is NaN, nor a trained one infinite: nothing but NaN would come out of the network.

    Raises:
        BadCheckpoint: some are; the first are named.
    """
    floats = {name: tensor for name, tensor in state.items() if tensor.is_floating_point()}
    bad = [n for n, t in floats.items() if t.isnan().any() or (n in parameters and t.isinf().any())]
    if bad:
        raise BadCheckpoint(f"The checkpoint has weights that are {'; '.join(_problem('not finite numbers', bad))}.")


def _problem(what: str, names: list[str]) -> list[str]:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return [f"{what}: {', '.join(names[:3])}{more}"] if names else []


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "a single number"


# --- the two formats -----------------------------------------------------------


def _is_safetensors(path: Path) -> bool:
    """safetensors files start with eight bytes of length and a JSON object; torch's with a zip or pickle mark."""
    start = _first_bytes(path)
    found = start[8:] == b"{" or path.suffix == ".safetensors"
    if found and int.from_bytes(start[:8], "little") > _MOST_HEADER_BYTES:
        raise BadCheckpoint(f"The checkpoint {path.name} is broken: its header is too long.", _SAFE)
    return found


def _first_bytes(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():  # a pipe or a device would be waited for without end
            raise BadCheckpoint(f"The checkpoint {path.name} is no file.", _SAFE)
        with path.open("rb") as file:
            return file.read(9)
    except OSError as error:
        raise BadCheckpoint(f"The checkpoint {path.name} cannot be opened: {error.strerror}.") from error


def _unpacked_bytes(path: Path) -> int:
    size = path.stat().st_size
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            size = max(size, sum(part.file_size for part in archive.infolist()))
    return size


def _safetensors_header(path: Path) -> Header:
    with safe_open(path, "pt") as file:
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118  # it is no mapping
        return _without_prefix(
            {name: Entry(tuple(s.get_shape()), s.get_dtype() in _FLOATS) for name, s in slices.items()}
        )


def _safetensors_state(path: Path) -> dict[str, Tensor]:
    with safe_open(path, "pt") as file:
        return _without_prefix({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118  # no mapping


def _torch_shapes(path: Path) -> dict[str, Tensor]:
    from torch._subclasses.fake_tensor import FakeTensorMode  # torch.load's own documented way to read no data

    with FakeTensorMode():
        return _torch_tensors(path)


def _torch_state(path: Path) -> dict[str, Tensor]:
    state = _torch_tensors(path)
    if empty := [name for name, tensor in state.items() if tensor.is_meta]:
        raise BadCheckpoint(f"{empty[0]} of the checkpoint is no plain tensor: it has a shape and no numbers.", _SAFE)
    return state


def _torch_tensors(path: Path) -> dict[str, Tensor]:
    return _tensors(torch.load(path, map_location="cpu", weights_only=True))


def _tensors(content: Any) -> dict[str, Tensor]:
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not content:
        raise BadCheckpoint(f"The checkpoint holds {type(content).__name__} instead of tensors by name.")
    odd = [str(name) for name, value in content.items() if not isinstance(value, Tensor)]
    if odd:
        raise BadCheckpoint(f"The checkpoint holds more than tensors: {', '.join(odd[:3])}.")
    for name, value in content.items():
        _check_plain(str(name), value)
    return _without_prefix({str(name): value.detach() for name, value in content.items()})


def _check_plain(name: str, tensor: Tensor) -> None:
    """See that a tensor has a number in memory for each place that it says it has: it will be written out in full."""
    if tensor.layout != torch.strided or tensor.is_quantized:
        raise BadCheckpoint(f"{name} of the checkpoint is no plain tensor ({tensor.layout}, {tensor.dtype}).", _SAFE)
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise BadCheckpoint(
            f"{name} of the checkpoint says it is {_times(tuple(tensor.shape))}, and the file has fewer numbers.", _SAFE
        )


def _without_prefix(by_name: dict[str, T]) -> dict[str, T]:
    """Data-parallel training puts "module." before every name."""
    if by_name and all(name.startswith("module.") for name in by_name):
        return {name.removeprefix("module."): value for name, value in by_name.items()}
    return by_name


# --- errors ----------------------------------------------------------------------


def _guarded(path: Path, read: Callable[[Path], T]) -> T:
    try:
        return read(path)
    except BadCheckpoint:
        raise
    except pickle.UnpicklingError as error:
        raise BadCheckpoint(_why_unsafe(path, error), _SAFE) from error
    except SafetensorError as error:
        raise BadCheckpoint(f"The checkpoint {path.name} is broken: {error}.", _SAFE) from error
    except Exception as error:  # a broken file makes torch's readers raise nearly anything
        first = (str(error).splitlines() or [""])[0]
        raise BadCheckpoint(
            f"The checkpoint {path.name} cannot be read: {first or type(error).__name__}.", _SAFE
        ) from error


_SAFE = "Save the network's state_dict as .safetensors, or with torch.save, tensors only."


def _why_unsafe(path: Path, error: Exception) -> str:
    """torch's own text advises to switch the protection off, so only what it stumbled over is repeated."""
    found = re.search(r"GLOBAL (\S+)", str(error))
    if found:
        return f"The checkpoint {path.name} is refused: it would run code when read ({found[1]})."
    return f"The checkpoint {path.name} is refused: it is no plain set of tensors."
