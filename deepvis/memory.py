"""Work that may not fit into a device's memory: tried, and halved when it does not."""

import logging
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

import torch

from core.errors import BadNetwork

T = TypeVar("T")
log = logging.getLogger(__name__)

# How torch's CPU allocator, C++, cuBLAS and cuDNN say that memory ran out, in errors of no class of their own.
_OUT_OF_MEMORY = ("can't allocate memory", "bad_alloc", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")


def unless_memory_runs_out(device: torch.device, make: Callable[[], T]) -> T | None:
    """What `make` makes, or None when memory ran out; by then its tensors are gone."""
    try:
        return make()
    except (torch.OutOfMemoryError, MemoryError):
        pass
    except RuntimeError as error:
        if not any(said in str(error) for said in _OUT_OF_MEMORY):
            raise
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return None


def half(rows: int, what: str) -> int:
    """How many images to go on with when so many do not fit.

    Raises:
        BadNetwork: it was but one.
    """
    if rows == 1:
        raise BadNetwork(f"Not even one image of {what} fits into memory.", "Use a device with more memory.")
    log.warning("out of memory with %d images of %s: going on with %d", rows, what, rows // 2)
    return rows // 2


def in_parts(
    device: torch.device, count: int, size: int, what: str, make: Callable[[slice], T]
) -> Iterator[tuple[slice, T]]:
    """What `make` makes of `count` images, `size` at a time or as many as fit; and which those were.

    Raises:
        BadNetwork: not even one image fits into memory.
    """
    start = 0
    while start < count:
        rows = slice(start, min(start + size, count))
        made = unless_memory_runs_out(device, partial(make, rows))
        if made is None:
            size = half(rows.stop - rows.start, what)
            continue
        yield rows, made
        start = rows.stop
