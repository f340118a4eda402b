"""Versions are locked with hashes, installation checks them, and the audit says what it could not ask."""

import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts import audit, lock

ROOT = Path(__file__).resolve().parents[2]
FILES = {path.stem: lock.parse(path.read_text()) for path in sorted((ROOT / "requirements").glob("*.txt"))}


def pins(*names: str) -> dict[str, str]:
    """Name and version of what the locks of these names pin."""
    found = [Requirement(pin) for name in names for pin in FILES[name]]
    return {canonicalize_name(each.name): next(iter(each.specifier)).version for each in found}


def wanted() -> list[tuple[str, Requirement]]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    run = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    dev = project["project"]["optional-dependencies"]["dev"]
    return [("run", Requirement(line)) for line in run] + [("dev", Requirement(line)) for line in dev]


@pytest.mark.parametrize(("who", "requirement"), wanted(), ids=str)
def test_every_dependency_is_locked_within_its_range(who: str, requirement: Requirement) -> None:
    locked = pins("build", "run", "torch", *(["dev"] if who == "dev" else []))
    assert locked[canonicalize_name(requirement.name)] in requirement.specifier


@pytest.mark.parametrize("name", lock.WHAT)
def test_every_pin_is_exact_with_hashes(name: str) -> None:
    for pin, hashes in FILES[name].items():
        [only] = Requirement(pin).specifier
        assert (only.operator, "+" in only.version) == ("==", name == "torch-cpu"), pin
        assert hashes, pin
        assert all(each.startswith("sha256:") and len(each) == 71 for each in hashes), pin


def test_torch_and_torchvision_fit_each_other() -> None:
    assert pins("torch") == {"torch": "2.13.0"}
    assert pins("torch-cpu") == {"torch": "2.13.0+cpu"}
    assert pins("run")["torchvision"] == "0.28.0"


def test_only_a_torch_for_gpus_brings_the_packages_of_cuda() -> None:
    assert {name.partition("-")[0] for name in pins("cuda")} == {"cuda", "nvidia", "triton"}
    assert {name for name in pins("run") if name.startswith(("cuda", "nvidia", "triton"))} == {"nvidia-ml-py"}


def test_what_is_installed_here_is_locked() -> None:
    """Tests that run at other versions than the locked ones would say nothing about those."""
    from importlib.metadata import version

    locked = pins("build", "run", "torch")
    here = {Requirement(pin).name for name in ("build", "run", "torch") for pin in FILES[name] if _is_for_here(pin)}
    different = {name: version(name) for name in here if version(name).partition("+")[0] != locked[name]}
    assert different == {}


def _is_for_here(pin: str) -> bool:
    marker = Requirement(pin).marker
    return marker is None or marker.evaluate()


def test_a_lock_is_read_as_it_is_written() -> None:
    assert lock.parse((ROOT / "requirements/run.txt").read_text()) == FILES["run"]
    assert lock.render(lock.WHAT["run"], FILES["run"]) == (ROOT / "requirements/run.txt").read_text()


def test_the_files_are_split_by_who_needs_them() -> None:
    run = {"setuptools==1": ["a"], "torch==2": ["b"], "click==3": ["c"], "triton==4 ; sys_platform == 'linux'": ["d"]}
    found = lock.split(run, {**run, "pytest==5": ["e"]})
    assert {name: [pin[0] for pin in each] for name, each in found.items()} == {
        "build": ["s"],
        "torch": ["t"],
        "torch-cpu": [],
        "cuda": ["t"],
        "run": ["c"],
        "dev": ["p"],
    }


def test_builds_of_torch_for_cpus_are_found_in_a_folder(tmp_path: Path) -> None:
    for name in ("torch-2.1.0+cpu-cp311", "torch-2.1.0+cpu-cp312", "torch-2.1.0-cp311", "torchvision-2.1.0+cpu-cp311"):
        (tmp_path / f"{name}.whl").write_text(name)
    wanted = {hashlib.sha256(name).hexdigest() for name in (b"torch-2.1.0+cpu-cp311", b"torch-2.1.0+cpu-cp312")}
    assert set(lock.cpu_builds("torch==2.1.0+cpu", str(tmp_path))) == {f"sha256:{each}" for each in wanted}


# --- installation ------------------------------------------------------------------


def wheel(folder: Path) -> str:
    """SHA-256 of a wheel "lockedthing" 1.0 that is made in `folder`."""
    path = folder / "lockedthing-1.0-py3-none-any.whl"
    info = "lockedthing-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("lockedthing.py", "")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: lockedthing\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def install(tmp_path: Path, digest: str, *, cpu: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    """What scripts/install.sh says, with a lock of its own, without an index, into a folder of its own.

    `cpu` is its list of a torch for CPUs.
    """
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    (tmp_path / "requirements").mkdir()
    for name in lock.WHAT:
        (tmp_path / "requirements" / f"{name}.txt").write_text("")
    (tmp_path / "requirements/run.txt").write_text(f"lockedthing==1.0 --hash=sha256:{digest}\n")
    (tmp_path / "requirements/torch-cpu.txt").write_text(cpu)
    own = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path), "PIP_TARGET": str(tmp_path / "target")}
    command = ["sh", str(tmp_path / "scripts/install.sh"), sys.executable]
    return subprocess.run(command, env=os.environ | own | env, capture_output=True, text=True, check=False)


def test_a_file_with_the_locked_hash_is_installed(tmp_path: Path) -> None:
    done = install(tmp_path, wheel(tmp_path))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "target/lockedthing.py").exists()


def test_a_file_with_another_hash_is_refused(tmp_path: Path) -> None:
    wheel(tmp_path)
    done = install(tmp_path, "0" * 64)
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr
    assert not (tmp_path / "target/lockedthing.py").exists()


NOWHERE = f"lockednothing==1.0 --hash=sha256:{'0' * 64}\n"


def test_without_a_torch_for_cpus_the_other_one_is_taken(tmp_path: Path) -> None:
    done = install(tmp_path, wheel(tmp_path), cpu=NOWHERE)
    assert done.returncode == 0, done.stderr


def test_a_torch_for_cpus_with_another_hash_ends_the_installation(tmp_path: Path) -> None:
    done = install(tmp_path, wheel(tmp_path), cpu=f"lockedthing==1.0 --hash=sha256:{'0' * 64}\n")
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr
    assert not (tmp_path / "target/lockedthing.py").exists()


def test_an_index_that_does_not_answer_is_no_index_without_a_torch_for_cpus(tmp_path: Path) -> None:
    nobody = {"PIP_NO_INDEX": "", "PIP_INDEX_URL": "http://127.0.0.1:1/simple", "PIP_RETRIES": "1"}
    done = install(tmp_path, wheel(tmp_path), cpu=NOWHERE, PIP_CONFIG_FILE=os.devnull, **nobody)
    assert done.returncode != 0
    assert "Retrying (" in done.stderr
    assert not (tmp_path / "target/lockedthing.py").exists()


# --- audit -------------------------------------------------------------------------

CLEAN = {"name": "click", "version": "8.5.1", "vulns": []}
KNOWN = {"name": "flask", "version": "3.1.3", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3.1.4"]}]}
SILENT = {"name": "torch", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("packages", "lines", "status"),
    [
        ([CLEAN], ["No vulnerability of 1 packages is known."], 0),
        ([CLEAN, KNOWN], ["flask 3.1.3: PYSEC-1, mended in 3.1.4"], 1),
        ([CLEAN, SILENT], ["1 of 2 packages could not be asked about:", "torch: not found"], 3),
    ],
)
def test_an_audit_is_judged(packages: list[dict[str, Any]], lines: list[str], status: int) -> None:
    assert audit.judge({"dependencies": packages}) == (lines, status)


def test_known_vulnerabilities_weigh_more_than_silence() -> None:
    lines, status = audit.judge({"dependencies": [KNOWN, SILENT]})
    assert (len(lines), status) == (3, 1)


def test_an_audit_that_could_not_ask_says_so() -> None:
    nobody = {"HTTPS_PROXY": "http://127.0.0.1:1", "https_proxy": "http://127.0.0.1:1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "scripts.audit"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | nobody, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert done.stdout.startswith("The vulnerability service could not be asked, so nothing is known: ")
