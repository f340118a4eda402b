"""Ask for known vulnerabilities of everything in requirements/ (`make audit`; further options are pip-audit's).

Exit status 0: none is known. 1: some are, and are listed. 3: some packages could not be asked about, so nothing is
known of them; that is no clean bill of health.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent.parent / "requirements"
LOCKS = [path for path in sorted(FOLDER.glob("*.txt")) if path.stem != "torch-cpu"]  # torch in another build
FOUND, UNANSWERED = 1, 3


def ask(options: list[str]) -> dict[str, Any]:
    """pip-audit's report.

    Raises:
        ConnectionError: it made none; the text is its last word.
    """
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes", "--vulnerability-service", "osv"]
    given = [part for path in LOCKS for part in ("--requirement", str(path))]
    form = ["--progress-spinner", "off", "--format", "json"]
    done = subprocess.run([*command, *given, *form, *options], capture_output=True, text=True, check=False)  # noqa: S603  # our own
    try:
        report: dict[str, Any] = json.loads(done.stdout)
    except ValueError as error:
        raise ConnectionError((done.stderr.strip().splitlines() or ["pip-audit said nothing"])[-1]) from error
    return report


def judge(report: dict[str, Any]) -> tuple[list[str], int]:
    """What to say of the report, and the exit status."""
    packages = report["dependencies"]
    known = [f"{p['name']} {p['version']}: {_vulnerability(v)}" for p in packages for v in p.get("vulns", [])]
    silent = [f"{p['name']}: {p['skip_reason']}" for p in packages if "skip_reason" in p]
    if silent:
        silent.insert(0, f"{len(silent)} of {len(packages)} packages could not be asked about:")
    nothing = [] if known or silent else [f"No vulnerability of {len(packages)} packages is known."]
    return [*known, *silent, *nothing], FOUND if known else UNANSWERED if silent else 0


def _vulnerability(found: dict[str, Any]) -> str:
    return f"{found['id']}, mended in {', '.join(found['fix_versions']) or 'no version yet'}"


def main() -> int:
    """Print what is known; the exit status."""
    try:
        lines, status = judge(ask(sys.argv[1:]))
    except ConnectionError as error:
        lines, status = [f"The vulnerability service could not be asked, so nothing is known: {error}"], UNANSWERED
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return status


if __name__ == "__main__":
    sys.exit(main())
