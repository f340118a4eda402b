"""What `deepvis doctor` finds: one line of its report, and the looks at the machine and its programs."""

import os
import shutil
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from core.deadlines import within
from core.errors import BadSetting, DeepvisError

State = Literal["ok", "missing", "warning", "optional"]

CUDA_SECONDS = 60.0
"""The first use of many GPUs takes long."""
LEAST_OPEN_FILES = 1024
LEAST_MEMORY_BYTES = 2_000_000_000
TEST_PROGRAMS = (
    ("Chromium", ("chromium", "chromium-browser", "google-chrome"), "for the browser tests: apt install chromium"),
    ("PostgreSQL", ("initdb", "pg_ctl"), "for the PostgreSQL tests: apt install postgresql"),
)


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    "missing" fails the whole; "warning" is to be looked at; "optional" is a part that one can do without.
    """

    name: str
    state: State
    detail: str
    remedy: str = ""


def attempt(name: str, check: Callable[[], Finding]) -> Finding:
    """The finding of `check`; an error it raises is a finding too."""
    try:
        return check()
    except DeepvisError as error:
        return Finding(name, "missing", error.detail, error.remedy)
    except Exception as error:  # whatever is broken, the other lines matter too
        return Finding(name, "missing", f"{type(error).__name__}: {error}")


def check_python() -> Finding:
    """Python 3.11 or newer."""
    found = ".".join(map(str, sys.version_info[:3]))
    return Finding("Python", "ok" if sys.version_info >= (3, 11) else "missing", found, "Install Python 3.11 or newer.")


def check_package(package: str) -> Finding:
    """A package of the method can be imported; torchvision by our own way, which works beside a CPU build of torch."""
    try:
        if package == "torchvision":
            from deepvis.networks.torchvision_shim import load_torchvision

            module: Any = load_torchvision()
        else:
            module = import_module(package)
    except ModuleNotFoundError as error:
        return Finding(package, "missing", f"{error.name} is not installed", "make install")
    except (ImportError, OSError, RuntimeError) as error:
        reason = f"cannot be imported: {str(error).partition(chr(10))[0]}"
        return Finding(package, "missing", reason, "rm -r .venv && make install")
    return Finding(package, "ok", str(module.__version__))


def check_cuda(device: str) -> Finding:
    """Every GPU that torch sees computes something; `device` is the setting: without a GPU the CPU may do."""
    finding = within(CUDA_SECONDS, "the GPUs", _find_cuda)
    if finding.state == "missing" and device == "cpu":
        return Finding("CUDA", "warning", finding.detail, "DEEPVIS_DEVICE is cpu: it is not used.")
    if finding.state in {"optional", "warning"} and device == "cuda":
        remedy = f"{finding.remedy} Or set DEEPVIS_DEVICE to auto."
        return Finding("CUDA", "missing", f"{finding.detail}; DEEPVIS_DEVICE is cuda", remedy)
    return finding


def _find_cuda() -> Finding:
    import torch

    from workers.trial import try_gpu

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        if not torch.cuda.is_available():
            return _no_cuda(torch.version.cuda, [str(warning.message) for warning in said])
    gpus = []
    for index in range(torch.cuda.device_count()):
        try:
            free = try_gpu(torch.device("cuda", index))
        except BadSetting as error:
            return Finding("CUDA", "missing", f"{error.detail} ({_versions(torch.version.cuda)})", error.remedy)
        gpus.append(f"{torch.cuda.get_device_name(index)} ({free / 1e9:.1f} GB free)")
    return Finding("CUDA", "ok", f"{', '.join(gpus)}; {_versions(torch.version.cuda)}")


def _no_cuda(toolkit: str | None, said: list[str]) -> Finding:
    if said:  # torch was built for CUDA and tells why there is none
        remedy = "Bring driver and torch's CUDA together."
        return Finding("CUDA", "warning", f"{said[0].partition(chr(10))[0]} ({_versions(toolkit)})", remedy)
    if toolkit is None and driver_version():
        detail = "there is an NVIDIA driver, but this torch is a build for the CPU"
        return Finding("CUDA", "warning", detail, "Install a CUDA build of torch.")
    return Finding("CUDA", "optional", "none that torch can use; the CPU computes", "GPUs need a CUDA build of torch.")


def _versions(toolkit: str | None) -> str:
    return f"driver {driver_version() or 'unknown'}, torch built for CUDA {toolkit or 'none'}"


def driver_version() -> str:
    """The version of NVIDIA's driver; empty if there is none."""
    import pynvml

    try:
        pynvml.nvmlInit()
        return str(pynvml.nvmlSystemGetDriverVersion())
    except pynvml.NVMLError:
        return ""


def check_memory() -> Finding:
    """Enough memory for a network and its pictures."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    state: State = "ok" if total >= LEAST_MEMORY_BYTES else "warning"
    return Finding("Memory", state, f"{total / 1e9:.1f} GB", "A worker wants 2 GB; take small networks and batches.")


def check_open_files() -> Finding:
    """Files and connections that one process may have open."""
    import resource

    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    unlimited = allowed == resource.RLIM_INFINITY
    state: State = "ok" if unlimited or allowed >= LEAST_OPEN_FILES else "warning"
    detail = "unlimited" if unlimited else f"{allowed} allowed"
    return Finding("Open files", state, detail, f"Before starting it: ulimit -n {4 * LEAST_OPEN_FILES}")


def check_program(name: str, programs: tuple[str, ...], remedy: str) -> Finding:
    """A program that only the tests need; Debian keeps PostgreSQL's away from the PATH."""
    folders = [str(p) for p in Path("/usr/lib/postgresql").glob("*/bin")]
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *folders])
    found = next((where for program in programs if (where := shutil.which(program, path=path))), None)
    return Finding(name, "ok", found) if found else Finding(name, "optional", "not found", remedy)
