"""A first use of the device, so that one that does not work is said in words before any work is taken."""

from typing import TYPE_CHECKING, Any

from core.errors import BadSetting
from core.settings import Settings
from workers.device import choose_device

if TYPE_CHECKING:
    import torch

LEAST_GPU_BYTES = 1_000_000_000
"""Free memory under which a GPU holds no network and a batch."""
_WITHOUT = "Check it with nvidia-smi, or set DEEPVIS_DEVICE=cpu to do without."


def try_device(settings: Settings) -> None:
    """Return if torch can be imported and computes on the device that `settings` choose.

    Raises:
        BadSetting: it does not, with the reason.
    """
    torch = import_torch()
    if choose_device(settings) == "cuda":
        try_gpu(torch.device("cuda"))


def import_torch() -> Any:
    """The module torch.

    Raises:
        BadSetting: it is not installed, or is broken.
    """
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a library of its own is missing
        raise BadSetting(f"torch cannot be imported: {error}.", "make install") from error
    return torch


def try_gpu(device: "torch.device") -> int:
    """Compute something small on a GPU; bytes of its memory that are free.

    Raises:
        BadSetting: it fails, or gets it wrong, or has too little memory.
    """
    import torch

    try:
        ones = torch.ones(1, 8, 16, 16, device=device)
        total = torch.nn.functional.conv2d(ones, torch.ones(8, 8, 3, 3, device=device)).sum().item()
        free: int = torch.cuda.mem_get_info(device)[0]
    except (RuntimeError, AssertionError) as error:  # torch raises both where CUDA fails
        reason = str(error).partition("\n")[0].rstrip(".")
        raise BadSetting(f"The GPU {device} fails at its first use: {reason}.", _WITHOUT) from error
    if total != 8 * 8 * 9 * 14 * 14:
        raise BadSetting(f"The GPU {device} computes wrongly.", _WITHOUT)
    if free < LEAST_GPU_BYTES:
        raise BadSetting(
            f"The GPU {device} has {free / 1e9:.2f} GB of free memory.", "End what else uses it. " + _WITHOUT
        )
    return free
