"""Tensors that grow row by row in a safetensors file, whose header is written when all rows are there."""

import json
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

HEADER_BYTES = 1024
"""Kept free at the start; the format allows spaces behind its header."""
_NAMES = {"float32": "F32", "float64": "F64"}


class TensorStream:
    """Writes the tensor `name` of shape (rows, *shape) to `path`; memory is that of one row.

    Args:
        path: of the file.
        name: of the tensor.
        shape: of a row.
        dtype: "float32" or "float64".
    """

    def __init__(self, path: Path, name: str, shape: Sequence[int], dtype: str = "float32") -> None:
        self.path = path
        self.rows = 0
        self._name, self._shape, self._dtype = name, tuple(shape), np.dtype(dtype).newbyteorder("<")
        self._kind = _NAMES[dtype]
        self._file = path.open("wb")
        self._file.write(bytes(HEADER_BYTES))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def append(self, row: NDArray[Any]) -> None:
        """Write one row.

        Raises:
            ValueError: it has another shape.
        """
        if row.shape != self._shape:
            raise ValueError(f"expected a row of shape {self._shape}, got {row.shape}")
        self._file.write(np.ascontiguousarray(row, self._dtype).tobytes())
        self.rows += 1

    def close(self) -> None:
        """Write the header: the file is whole now."""
        if self._file.closed:
            return
        size = self.rows * int(np.prod(self._shape, dtype=np.int64)) * self._dtype.itemsize
        about = {"dtype": self._kind, "shape": [self.rows, *self._shape], "data_offsets": [0, size]}
        header = json.dumps({self._name: about}).encode()
        room = HEADER_BYTES - 8
        self._file.seek(0)
        self._file.write(room.to_bytes(8, "little") + header.ljust(room))
        self._file.close()
