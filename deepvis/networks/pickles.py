"""What a torch checkpoint's pickle would do, found out without doing any of it.

torch's own `weights_only` keeps it from running code. It does not keep it from taking time and memory without end: a
byte that makes a dictionary takes 64, and two of the calls that are allowed make bytes of any length.
"""

import pickletools
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from core.errors import BadCheckpoint

MOST_STEPS = 1_000_000
"""A pickled tensor takes some thirty."""
MOST_BYTES = 64 * 1024 * 1024
"""Of one pickle; numbers of tensors are not in it."""
_LEGACY_PICKLES = 5  # a magic number, a version, about the system, the tensors, the order of their numbers
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_UNWANTED = {"builtins bytearray", "__builtin__ bytearray", "_codecs encode"}


def check_pickles(path: Path) -> None:
    """See that reading the pickles of a checkpoint that torch wrote takes little, whatever they hold.

    Raises:
        BadCheckpoint: it does not, or torch wrote no such file.
        Exception: the file is broken (whatever `pickletools` and `zipfile` say).
    """
    with path.open("rb") as file:
        modern = file.read(4) == b"PK\x03\x04"  # as torch decides it
    if modern:
        _check_archive(path)
        return
    with path.open("rb") as file:
        limited = _Limited(file, path.name)
        if _LEGACY_MAGIC not in [value for _, value in _steps(limited)]:
            raise BadCheckpoint(f"The checkpoint {path.name} is neither safetensors nor written by torch.save.")
        for _ in range(_LEGACY_PICKLES - 1):
            _check(limited, path.name)


def _check_archive(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        for part in archive.infolist():  # one name may stand for several
            if part.filename.endswith(".pkl"):
                with archive.open(part) as file:
                    _check(_Limited(file, path.name), path.name)


def _check(file: "_Limited", name: str) -> None:
    """Go through one pickle's steps, without taking any."""
    for number, (step, value) in enumerate(_steps(file)):
        if number > MOST_STEPS:
            raise too_much(name)
        if step == "GLOBAL" and value in _UNWANTED:
            raise BadCheckpoint(f"The checkpoint {name} holds more than tensors: {str(value).replace(' ', '.')}.")


def _steps(file: "_Limited") -> Iterator[tuple[str, Any]]:
    """The name and argument of each step of one pickle."""
    for step, value, _ in pickletools.genops(file):  # type: ignore[arg-type]  # it calls read and readline only
        yield step.name, value


def too_much(name: str) -> BadCheckpoint:
    """The error for a checkpoint that describes far more than a network has."""
    return BadCheckpoint(f"The checkpoint {name} describes far more than the tensors of a network.")


class _Limited:
    """A file of which only so much can be read."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file = file
        self._name = name
        self._left = MOST_BYTES

    def read(self, count: int) -> bytes:
        if count > self._left:
            raise too_much(self._name)
        self._left -= count
        return self._file.read(count)

    def readline(self) -> bytes:
        line = self._file.readline(self._left)
        self._left -= len(line)
        if not self._left:
            raise too_much(self._name)
        return line
