"""Modules without memory for their weights, to see what a checkpoint must hold before anything is read from it."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class Weightless(TorchFunctionMode):
    """Modules built inside have their weights on the meta device: names, shapes and types, no memory.

    `torch.device("meta")` would do the same to every tensor, and some builders (RegNet's) calculate their layers'
    widths with tensors. Weights begin as `torch.empty`; only that is redirected.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        options = {**(kwargs or {}), "device": "meta"} if func is torch.empty else kwargs or {}
        return func(*args, **options)
