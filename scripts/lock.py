"""Write requirements/*.txt: exact versions with the hashes of every file that may be installed (`make lock`).

uv resolves pyproject.toml for every platform and every Python that it allows. Versions that are locked already stay,
unless uv is told otherwise: `make lock ARGS='--upgrade-package flask'`, or `--upgrade` for all of them.

torch for CPUs alone is a version of its own ("+cpu") that lies elsewhere. `--cpu-builds` names a package index or a
folder with its files; the hashes that are known already stay as long as torch's version does.
"""

import argparse
import hashlib
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "requirements"
WHAT = {
    "build": "What builds deepvis itself, and packages that have no wheel for some platform.",
    "run": "What deepvis runs on beside torch.",
    "torch": "torch, for GPUs where there are builds for them.",
    "torch-cpu": "torch for CPUs alone, where pip is told of it.",
    "cuda": "What torch needs beside it where its build is for GPUs.",
    "dev": "What tests, linters and measurements need beside that.",
}
HEADER = "# {what}\n# Made by scripts/lock.py (`make lock`), installed by scripts/install.sh.\n"

Lock = dict[str, list[str]]
"""Pins, such as "click==8.5.1 ; sys_platform == 'linux'", and the hashes of each."""


def compile_lock(known: Lock, *options: str) -> Lock:
    """What uv resolves pyproject.toml to, at the versions of `known` where they fit."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "lock.txt"
        output.write_text(render("", known))  # uv keeps the versions that it finds in its output file
        _compile("pyproject.toml", "--universal", "--output-file", str(output), *options)
        return parse(output.read_text())


def cpu_builds(pin: str, where: str) -> list[str]:
    """Hashes of the files for `pin`, a torch for CPUs, at `where`: a package index's address or a folder of wheels."""
    if Path(where).is_dir():
        wheels = Path(where).glob(f"{pin.replace('==', '-')}-*.whl")
        return [f"sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}" for wheel in wheels]
    with tempfile.TemporaryDirectory() as folder:
        wish = Path(folder) / "torch.in"
        wish.write_text(f"{pin}\n")
        found = parse(_compile(str(wish), "--no-deps", "--default-index", where))
    return [name for hashes in found.values() for name in hashes]


def parse(text: str) -> Lock:
    """The pins and hashes in a requirements file."""
    joined = re.sub(r"\\\n\s*", "", text)
    lines = [line for line in joined.splitlines() if line and not line.startswith("#")]
    return {line.partition("--hash=")[0].strip(): re.findall(r"--hash=(\S+)", line) for line in lines}


def render(what: str, lock: Lock) -> str:
    """A requirements file."""
    entries = (" \\\n    ".join([pin, *(f"--hash={name}" for name in lock[pin])]) for pin in sorted(lock))
    return HEADER.format(what=what) + "".join(f"{entry}\n" for entry in entries)


def split(run: Lock, everything: Lock) -> dict[str, Lock]:
    """The locks by the names of their files."""
    locks: dict[str, Lock] = {name: {} for name in WHAT}
    for pin, hashes in everything.items():
        locks[_file_of(pin) if pin in run else "dev"][pin] = hashes
    return locks


def _file_of(pin: str) -> str:
    own = {"setuptools": "build", "torch": "torch"}.get(pin.partition("==")[0])
    # What is needed on Linux alone is what torch needs for GPUs.
    return own or ("cuda" if "sys_platform == 'linux'" in pin else "run")


def _compile(*options: str) -> str:
    # Found here and now, and not as some configuration of this machine says.
    command = [sys.executable, "-m", "uv", "--no-config", "--quiet", "pip", "compile"]
    form = ["--generate-hashes", "--no-annotate", "--no-header"]
    done = subprocess.run([*command, *form, *options], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603  # our own uv
    if done.returncode:
        sys.exit(f"uv pip compile ended with exit status {done.returncode}")
    return done.stdout


def _for_cpus(torch: Lock, known: Lock, where: str) -> Lock:
    pin = f"{next(iter(torch))}+cpu"
    return {pin: sorted({*known.get(pin, []), *(cpu_builds(pin, where) if where else [])})}


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(description="Write requirements/*.txt; other options are uv's.")
    parser.add_argument("--cpu-builds", default="", metavar="WHERE", help="package index or folder of torch for CPUs")
    given, options = parser.parse_known_args()
    known = parse("".join(path.read_text() for path in FOLDER.glob("*.txt")))
    everything = compile_lock({pin: known[pin] for pin in known if "+" not in pin}, "--extra", "dev", *options)
    run = compile_lock(everything)
    locks = split(run, everything | run)
    locks["torch-cpu"] = _for_cpus(locks["torch"], known, given.cpu_builds)
    for name, lock in locks.items():
        (FOLDER / f"{name}.txt").write_text(render(WHAT[name], lock))


if __name__ == "__main__":
    main()
