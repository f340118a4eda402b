"""Children start, are watched and end together, whatever happens to any of them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cli.supervisor import PartEnded, StopRequested, Supervisor

SLEEP = [sys.executable, "-c", "import time; print('here', flush=True); time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)",
]
PARENT_OF_ONE = [
    sys.executable,
    "-c",
    "import subprocess, sys, time\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    "print(child.pid, flush=True)\n"
    "time.sleep(60)",
]


def alive(pid: int) -> bool:
    """True if the process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def ends(pid: int) -> bool:
    """True if the process is gone within five seconds."""
    deadline = time.monotonic() + 5
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not alive(pid)


def wait_for_text(path: Path, text: str = "") -> str:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        content = path.read_text() if path.exists() else ""
        if content.strip() and text in content:
            return content
        time.sleep(0.02)
    raise AssertionError(f"{path} did not come to hold {text!r}")


def test_children_end_with_the_block(tmp_path: Path) -> None:
    with Supervisor(tmp_path) as supervisor:
        children = [supervisor.start(name, SLEEP, os.environ) for name in ("a", "b")]
        wait_for_text(tmp_path / "a.log", "here")
        supervisor.check()
        assert all(alive(child.process.pid) for child in children)
    assert not any(alive(child.process.pid) for child in children)


def test_a_child_that_ends_is_named_with_its_last_words(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; print('no room left'); sys.exit(3)"]
    with (
        pytest.raises(PartEnded, match=r"(?s)The web ended with exit status 3.*no room left"),
        Supervisor(tmp_path) as supervisor,
    ):
        other = supervisor.start("other", SLEEP, os.environ)
        supervisor.start("web", command, os.environ)
        supervisor.wait(10)
    assert not alive(other.process.pid)


def test_a_child_that_ignores_sigterm_is_killed_after_its_grace(tmp_path: Path) -> None:
    with Supervisor(tmp_path) as supervisor:
        child = supervisor.start("deaf", STUBBORN, os.environ, grace_seconds=0.3)
        wait_for_text(tmp_path / "deaf.log", "deaf")
    assert child.process.returncode == -signal.SIGKILL


def test_grandchildren_do_not_outlive_a_killed_child(tmp_path: Path) -> None:
    with pytest.raises(PartEnded, match="was ended by SIGKILL"), Supervisor(tmp_path) as supervisor:
        child = supervisor.start("parent", PARENT_OF_ONE, os.environ)
        grandchild = int(wait_for_text(tmp_path / "parent.log"))
        child.process.kill()
        supervisor.wait(10)
    assert ends(grandchild)


def test_a_signal_becomes_a_wish_to_stop_and_handlers_come_back(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(StopRequested), Supervisor(tmp_path) as supervisor:
        os.kill(os.getpid(), signal.SIGTERM)
        supervisor.wait(10)
    assert signal.getsignal(signal.SIGTERM) is before


def test_children_end_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from cli.supervisor import Supervisor\n"
        f"with Supervisor(Path({str(tmp_path)!r})) as supervisor:\n"
        f"    child = supervisor.start('a', {SLEEP!r}, os.environ)\n"
        "    print(child.process.pid, flush=True)\n"
        "    supervisor.wait(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        wait_for_text(tmp_path / "a.log", "here")
        parent.kill()
    assert ends(child)


def test_warnings_of_children_are_shown_and_the_rest_is_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [sys.executable, "-c", "print('INFO all well'); print('WARNING low on disk', flush=True); input()"]
    with pytest.raises(PartEnded), Supervisor(tmp_path) as supervisor:
        supervisor.start("worker", command, os.environ)
        supervisor.wait(10)
    assert capsys.readouterr().err == "worker | WARNING low on disk\n"
