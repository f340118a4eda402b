"""What this worker computes on. Only the pool's child may call what needs torch: a parent that has touched it hangs."""

from typing import Literal

from celery.utils.sysinfo import cpu_budget

from core.errors import BadSetting
from core.settings import Settings

Device = Literal["cpu", "cuda"]


def choose_threads(settings: Settings) -> int:
    """CPU threads for torch: as set, else every core this process may use (affinity and container quota counted)."""
    return settings.threads or int(cpu_budget().count)


def choose_device(settings: Settings) -> Device:
    """The device as set; "auto" takes CUDA if it is there. Imports torch.

    Raises:
        BadSetting: CUDA is asked for and not there.
    """
    import torch

    if settings.device == "cpu":
        return "cpu"
    if torch.cuda.is_available():
        return "cuda"
    if settings.device == "cuda":
        raise BadSetting("DEEPVIS_DEVICE is cuda, and torch sees no CUDA device.", "Set it to auto or cpu.")
    return "cpu"
