"""What every test may use: clean surroundings, settings of its own, the parts of the machine that a test needs."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis

from core.settings import Settings, load_settings

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
CI = bool(os.environ.get("CI"))

# The programs of a part, the first one found counts, and the Debian package that brings it.
PARTS = {
    "redis-server": (("redis-server",), "redis-server"),
    "chromium": (("chromium", "chromium-browser", "google-chrome"), "chromium"),
    "postgresql": (("initdb",), "postgresql"),
    "rabbitmq-server": (("rabbitmq-server", "/usr/sbin/rabbitmq-server"), "rabbitmq-server"),
    "faketime": (("faketime",), "faketime"),
}


def _clean_surroundings() -> None:
    """No setting of the person who tests reaches a test, and no process takes more than two cores' worth of threads."""
    for name in [name for name in os.environ if name.startswith("DEEPVIS_")]:
        del os.environ[name]
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # or they spin while they wait, in each other's way
    threads = str(min(2, os.cpu_count() or 1))
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, threads)


def _find_postgresql() -> None:
    """Debian keeps PostgreSQL's programs away from the PATH; the newest version comes first."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: float(folder.parent.name))
    os.environ["PATH"] = os.pathsep.join([*map(str, reversed(folders)), os.environ.get("PATH", os.defpath)])


def _steady_properties() -> None:
    """Property tests draw the same data every time, and a machine that is busy fails none of them."""
    slow = [HealthCheck.too_slow]
    fuzzed = bool(os.environ.get("FUZZ_SECONDS"))
    hypothesis.register_profile(
        "deepvis", derandomize=not fuzzed, database=None, deadline=None, suppress_health_check=slow
    )
    hypothesis.load_profile("deepvis")


_clean_surroundings()
_find_postgresql()
_steady_properties()


def pytest_sessionstart(session: pytest.Session) -> None:
    """In CI nothing may be missing, or tests would be skipped without anybody noticing."""
    missing = [package for name, (_, package) in PARTS.items() if find_part(name) is None]
    if CI and missing:
        pytest.exit(f"in CI a missing part is a failure: apt install {' '.join(missing)}", returncode=1)


def find_part(name: str) -> Path | None:
    """The program of the part `name` (a key of `PARTS`), or None."""
    found = next((where for program in PARTS[name][0] if (where := shutil.which(program))), None)
    return Path(found) if found else None


def require_part(name: str) -> Path:
    """The program of the part `name`. Where it is missing the test is skipped with the reason; in CI it fails."""
    found = find_part(name)
    if found is None:
        missing_part(f"{name} is not installed (on Debian: apt install {PARTS[name][1]})")
    return found


def missing_part(reason: str) -> NoReturn:
    """Something the test needs is not here: skip it with the reason, or fail it in CI."""
    if CI:
        pytest.fail(f"In CI a missing part is a failure: {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The development data beside the checkout (weights, photographs, reference pictures)."""
    if not SHARED.is_dir():
        pytest.skip("there is no development data in ../shared")
    return SHARED


@pytest.fixture
def make_settings(tmp_path: Path) -> Callable[..., Settings]:
    """Makes settings with a home folder of the test's own; keyword arguments are settings."""

    def make(**changes: object) -> Settings:
        return load_settings(**{"home": tmp_path / "home", **changes})

    return make


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    """Settings with a home folder of the test's own."""
    return make_settings()
