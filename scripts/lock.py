"""Write requirements.lock: the exact versions, in this environment, of all that deepvis and its tests need.

Run it in an environment that has just been brought up to date: `python -m scripts.lock > requirements.lock`.
Local version labels (a build for one kind of device) are left out, so that each machine takes the build that fits it.
"""

import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = "deepvis[dev]"
# What other Pythons that we run on need beside it: redis asks for async-timeout before Python 3.11.3.
ELSEWHERE = {"async-timeout": "5.0.1"}
HEADER = """\
# Exact versions of everything deepvis and its tests run on; pyproject.toml holds the ranges.
# Made by scripts/lock.py (`make lock`). What torch needs for GPUs on some platforms comes with torch.
"""


def needed(root: str) -> dict[str, str]:
    """Name and version of every package that `root` needs here, itself left out."""
    found: dict[str, str] = {}
    seen: set[str] = set()
    waiting = [Requirement(root)]
    while waiting:
        requirement = waiting.pop()
        if (key := str(requirement)) in seen:
            continue
        seen.add(key)
        package = distribution(requirement.name)
        found[canonicalize_name(requirement.name)] = package.version.partition("+")[0]
        waiting.extend(_requirements(package.requires or [], requirement.extras))
    del found[canonicalize_name(Requirement(root).name)]
    return found


def _requirements(lines: list[str], extras: set[str]) -> Iterator[Requirement]:
    for line in lines:
        requirement = Requirement(line)
        if requirement.marker is None or any(requirement.marker.evaluate({"extra": e}) for e in extras or {""}):
            yield requirement


def main() -> None:
    """Print the lock."""
    try:
        found = {**ELSEWHERE, **needed(ROOT)}
    except PackageNotFoundError as error:
        sys.exit(f"{error}: install everything first (pip install -e '.[dev]')")
    sys.stdout.write(HEADER + "".join(f"{name}=={found[name]}\n" for name in sorted(found)))


if __name__ == "__main__":
    main()
