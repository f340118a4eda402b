"""Import torchvision, also where torch is a CPU build and torchvision's compiled operators cannot load.

torchvision's wheel on the package index is built against CUDA. Beside a CPU-only torch its extension does not load,
the operators `nms` and `qnms` are never declared, and `import torchvision` fails when it registers their shape
functions (RuntimeError "operator torchvision::nms does not exist"). No classifier calls either operator, so
declaring their schemas is enough.
"""

import importlib
import sys
import threading
from types import ModuleType
from typing import Any

_OPERATORS = ("nms", "qnms")
_SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_importing = threading.Lock()  # a worker lists its networks in one thread and loads one in another
_declared: list[Any] = []  # the declarations live only as long as their library object


def load_torchvision() -> ModuleType:
    """The module `torchvision`, with `torchvision.models` imported.

    Raises:
        RuntimeError, ImportError: torchvision is broken for any other reason than the missing operators.
    """
    with _importing:
        try:
            importlib.import_module("torchvision")
        except RuntimeError as error:
            if "torchvision::nms does not exist" not in str(error):
                raise
            _forget_half_imported()
            _declare_operators()
            importlib.import_module("torchvision")
        importlib.import_module("torchvision.models")
        return sys.modules["torchvision"]


def _forget_half_imported() -> None:
    for name in [n for n in sys.modules if n == "torchvision" or n.startswith("torchvision.")]:
        del sys.modules[name]


def _declare_operators() -> None:
    import torch

    library: Any = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]  # torch's own
    for operator in _OPERATORS:
        library.define(operator + _SIGNATURE)
    _declared.append(library)
