"""What this worker computes on. Only the pool's child may call what needs torch: a parent that has touched it hangs."""

import logging
import subprocess
import sys
from pathlib import Path
from typing import Literal

from celery.utils.sysinfo import cpu_budget

from core.errors import BadSetting
from core.settings import Settings
from core.specs import DeviceKind

log = logging.getLogger(__name__)

Device = Literal["cpu", "cuda"]

DRIVERS = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
"""One of these is there on a Linux machine on which torch can use a GPU (NVIDIA's, Windows' subsystem, AMD's)."""
LOOK_SECONDS = 120.0
"""Importing torch may take long on a cold disk."""


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


def settle_device(settings: Settings) -> Settings:
    """The settings with "auto" replaced by what this machine has, found without torch in this process.

    The parent needs to know: it takes messages for its kind of device.
    """
    if settings.device != "auto":
        return settings
    return settings.model_copy(update={"device": "cuda" if _has_cuda() else "cpu"})


def kind_of(settings: Settings) -> DeviceKind:
    """The kind of a device that is settled."""
    return DeviceKind.GPU if settings.device == "cuda" else DeviceKind.CPU


def _has_cuda() -> bool:
    if sys.platform == "linux" and not any(Path(driver).exists() for driver in DRIVERS):
        return False
    look = "import torch, sys; sys.exit(not torch.cuda.is_available())"
    try:
        found = subprocess.run([sys.executable, "-c", look], check=False, timeout=LOOK_SECONDS).returncode == 0  # noqa: S603
    except subprocess.TimeoutExpired:
        found = False
    if not found:
        log.warning("there is a GPU driver, and torch sees no GPU: computing on the CPU; `deepvis doctor` says more")
    return found
