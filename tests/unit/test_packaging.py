"""What is installed is the whole application, and only that."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("core", "deepvis", "store", "db", "broker", "workers", "api", "cli")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names of the files in the wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    tracked = _tracked()
    for name in [*tracked, "pyproject.toml", "README.md", "LICENSE"]:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((ROOT / name).read_bytes())
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet", "-w", folder, source]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


def _tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files", *ROOMS], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [name for name in listed.splitlines() if (ROOT / name).exists()]


def test_every_file_of_the_rooms_is_installed(installed: set[str]) -> None:
    assert [name for name in _tracked() if name not in installed] == []


def test_nothing_else_is_installed(installed: set[str]) -> None:
    assert {name.partition("/")[0] for name in installed if ".dist-info/" not in name} <= set(ROOMS)


def test_secrets_do_not_reach_the_image() -> None:
    """docker compose reads passwords and tokens from .env, and the image is built from the same folder."""
    assert ".env*" in (ROOT / ".dockerignore").read_text().splitlines()
