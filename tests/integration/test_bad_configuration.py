"""Every command under a bad configuration: its first lines say what is wrong and what mends it, and nothing hangs."""

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import redis
from click.testing import CliRunner, Result

from cli.main import main
from db.migrate import upgrade
from tests.services import Redis, Worker, environment, free_port, running_redis, wait_until

pytestmark = pytest.mark.integration

LIMIT_SECONDS = 15.0
DOCTOR_STATUS, ERROR_STATUS = 1, 2
DATABASE_COMMANDS = ("db upgrade", "api", "worker", "up")


@pytest.fixture(autouse=True)
def _our_own_signals() -> Iterator[None]:
    """`deepvis worker` handles SIGTERM; in these tests it is the test process that would."""
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes an installation in a home folder of the test's own; keyword arguments are its settings."""

    def set_all(**settings: object) -> None:
        for name, value in {"home": tmp_path / "home", "port": free_port(), **settings}.items():
            monkeypatch.setenv(f"DEEPVIS_{name.upper()}", str(value))

    set_all()
    return set_all


@pytest.fixture(scope="module")
def silent() -> Iterator[int]:
    """A port whose listener accepts and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)  # the system accepts for it
        yield int(listener.getsockname()[1])


@pytest.fixture
def own_redis() -> Iterator[Redis]:
    with running_redis() as server:
        yield server


@pytest.fixture
def migrated(tmp_path: Path, migrated_sqlite: Path) -> str:
    """URL of an SQLite database with tables."""
    path = tmp_path / "good.db"
    path.write_bytes(migrated_sqlite.read_bytes())
    return f"sqlite:///{path}"


def run(command: str) -> Result:
    """Run it; it ends in time and without a traceback."""
    begin = time.monotonic()
    result = CliRunner().invoke(main, command.split(), prog_name="deepvis")
    assert time.monotonic() - begin < LIMIT_SECONDS
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result


def assert_says(command: str, wrong: str, remedy: str) -> None:
    """The command ends with status 2, and its last two lines of stderr are these, at least in part."""
    result = run(command)
    assert result.exit_code == ERROR_STATUS, result.output
    first, second = result.stderr.splitlines()[-2:]
    assert first.startswith("Error: ")
    assert wrong in first
    assert remedy in second


def assert_doctor_says(name: str, wrong: str, remedy: str) -> None:
    """The doctor's line of that name is missing, for this reason, with this remedy below it."""
    result = run("doctor")
    lines = result.output.splitlines()
    at = next(at for at, line in enumerate(lines) if line.startswith(f"MISSING  {name} "))
    assert wrong in lines[at]
    assert remedy in lines[at + 1]
    assert result.exit_code == DOCTOR_STATUS


# --- database ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "wrong", "remedy"),
    [
        ("nonsense", "is not a database URL", "postgresql://user:password@host/name"),
        ("postgresql://u@host:port/name", "is not a database URL", "postgresql://user:password@host/name"),
        ("mysql://u@host/name", "no support for 'mysql'", "sqlite:///"),
        ("postgresql://u@127.0.0.1:1/name", "No PostgreSQL answers at 127.0.0.1:1", "Start it"),
        ("postgresql://u@nohost.invalid/name", "host nohost.invalid is not known", "Mend the host"),
    ],
)
def test_a_wrong_database_url(configure: Callable[..., None], url: str, wrong: str, remedy: str) -> None:
    configure(database_url=url)
    for command in ("db upgrade", "api"):
        assert_says(command, wrong, remedy)


def test_a_database_host_that_never_answers(configure: Callable[..., None], silent: int) -> None:
    configure(database_url=f"postgresql://u@127.0.0.1:{silent}/name")
    assert_says("db upgrade", f"No PostgreSQL answers at 127.0.0.1:{silent}", "DEEPVIS_DATABASE_URL")


def test_what_postgresql_refuses(configure: Callable[..., None], postgres_server: str) -> None:
    base, address = postgres_server.rpartition("/")[0], postgres_server.rpartition("@")[2]
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        for statement in ("CREATE DATABASE bare", "CREATE DATABASE full_of_tables", "CREATE ROLE weak LOGIN"):
            connection.execute(statement)
    upgrade(f"{base}/full_of_tables")
    for url, command, wrong, remedy in (
        (f"{base}/nowhere", "worker", "has no database nowhere", 'CREATE DATABASE "nowhere"'),
        (f"{base}/bare", "worker", "has no tables yet", "`deepvis db upgrade`"),
        (f"{base}/bare?nonsense=1", "db upgrade", 'invalid connection option "nonsense"', "DEEPVIS_DATABASE_URL"),
        (f"postgresql://nobody@{address}", "db upgrade", "has no role nobody", 'CREATE ROLE "nobody"'),
        (f"postgresql://weak@{address.partition('/')[0]}/bare", "db upgrade", "weak may not make tables", "GRANT"),
        (f"postgresql://weak@{address.partition('/')[0]}/full_of_tables", "api", "weak may not read", "GRANT ALL"),
    ):
        configure(database_url=url)
        assert_says(command, wrong, remedy)


def test_a_database_of_another_version(configure: Callable[..., None], migrated: str) -> None:
    configure(database_url=migrated)
    for revision, wrong, remedy in (("0001", "older", "`deepvis db upgrade`"), ("9999", "newer", "Install that")):
        with sqlite3.connect(migrated.removeprefix("sqlite:///")) as connection:
            connection.execute("UPDATE alembic_version SET version_num = ?", [revision])
        connection.close()
        for command in ("api", "worker"):
            assert_says(command, f"is of an {wrong}" if wrong == "older" else f"is of a {wrong}", remedy)


def test_a_file_that_is_no_database(configure: Callable[..., None], tmp_path: Path) -> None:
    (tmp_path / "letter").write_text("Dear Sir or Madam, " * 200)
    configure(database_url=f"sqlite:///{tmp_path}/letter")
    for command in DATABASE_COMMANDS:
        assert_says(command, f"{tmp_path}/letter is no SQLite database", "`deepvis db upgrade`")
    configure(database_url=f"sqlite:///{tmp_path}/letter/deepvis.db")
    assert_says("db upgrade", f"{tmp_path}/letter of the database cannot be made", "DEEPVIS_DATABASE_URL")


def test_a_locked_database(configure: Callable[..., None], migrated: str) -> None:
    configure(database_url=migrated)
    path = migrated.removeprefix("sqlite:///")
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    assert_says("api", f"{path} is locked by another process", f"`fuser {path}`")
    holder.close()


# --- broker ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("carrier-pigeon://here", "no message broker of the kind 'carrier-pigeon'"),
        ("127.0.0.1:6379", "is no URL of a message broker"),
        ("redis://127.0.0.1/first", "ends with the number of a database"),
    ],
)
def test_a_wrong_broker_url(configure: Callable[..., None], migrated: str, url: str, wrong: str) -> None:
    configure(database_url=migrated, broker_url=url)
    for command in ("api", "worker", "up"):
        assert_says(command, wrong, "redis://:password@host:6379/0")


def test_a_broker_that_is_not_there(configure: Callable[..., None], migrated: str, silent: int) -> None:
    for url in ("redis://127.0.0.1:1/0", "amqp://127.0.0.1:1//", "redis://nohost.invalid/0"):
        configure(database_url=migrated, broker_url=url)
        assert_says("up", "No message broker answers at", "DEEPVIS_BROKER_URL")
    for scheme in ("redis", "amqp"):
        configure(broker_url=f"{scheme}://127.0.0.1:{silent}/0")
        assert_says("up", f"No message broker answers at {scheme}://127.0.0.1:{silent}", "DEEPVIS_BROKER_URL")


def test_a_redis_that_takes_no_messages(configure: Callable[..., None], migrated: str, own_redis: Redis) -> None:
    configure(database_url=migrated, broker_url=own_redis.url)
    with redis.Redis(port=own_redis.port) as client:
        client.config_set("maxmemory", 1)
        assert_says("up", "has no memory left", "maxmemory")
        client.config_set("maxmemory", 0)
        client.replicaof("127.0.0.1", str(free_port()))
        assert_says("up", "is a read-only replica", "Name the primary")
        client.replicaof("NO", "ONE")
        client.config_set("requirepass", "secret")
    for command in ("up", "api", "worker"):
        assert_says(command, "refuses the password", "DEEPVIS_BROKER_URL")


def test_a_redis_that_cannot_save(configure: Callable[..., None], migrated: str, own_redis: Redis) -> None:
    with redis.Redis(port=own_redis.port) as client:
        client.config_set("appendonly", "no")
        client.config_set("save", "1 1")
        shutil.rmtree(own_redis.folder)
        client.bgsave()
        wait_until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", 10)
    own_redis.folder.mkdir()
    configure(database_url=migrated, broker_url=own_redis.url)
    assert_says("up", "cannot save to its disk", "Free its disk")


def test_a_worker_waits_for_its_broker_and_says_so(tmp_path: Path, own_redis: Redis, migrated: str) -> None:
    own_redis.kill()
    with Worker(environment(tmp_path / "home", own_redis.url, database_url=migrated)) as worker:
        wait_until(lambda: "Waiting for the message broker, as long as it takes" in worker.log, LIMIT_SECONDS)
        assert f"No message broker answers at redis://127.0.0.1:{own_redis.port}" in worker.log
        own_redis.start()
        wait_until(lambda: "connected to the message broker" in worker.log, LIMIT_SECONDS)


def test_a_worker_that_waits_can_be_stopped(tmp_path: Path, migrated: str) -> None:
    with Worker(environment(tmp_path / "home", "redis://127.0.0.1:1/0", database_url=migrated)) as worker:
        wait_until(lambda: "Waiting" in worker.log, LIMIT_SECONDS)
        worker.terminate()
        assert worker.wait(5) == 0


# --- folders ---------------------------------------------------------------------------


def test_a_store_that_is_a_file(configure: Callable[..., None], tmp_path: Path, migrated: str) -> None:
    (tmp_path / "store").write_text("a file")
    configure(database_url=migrated, store_url=(tmp_path / "store").as_uri())
    for command in ("api", "worker", "up"):
        assert_says(command, f"picture store {tmp_path}/store cannot be", "permissions")
    configure(store_url="ftp://host/folder")
    assert_says("api", "'ftp://host/folder' is no picture store", "file:///")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A little file system of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("only root may mount a file system")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_and_a_read_only_disk(configure: Callable[..., None], disk: Path, migrated: str) -> None:
    configure(database_url=migrated, home=disk / "home", store_url=(disk / "pictures").as_uri())
    assert_says("up", "There are only 1.05 MB free", "df -h")
    with pytest.raises(OSError, match="No space"):
        (disk / "fill").write_bytes(b"x" * 2_000_000)
    assert_says("up", f"{disk}/home cannot be used: No space left", "df -h")
    assert_says("worker", f"{disk}/pictures cannot be written to: No space left", "disk space")
    configure(database_url=f"sqlite:///{disk}/deepvis.db")
    assert_says("db upgrade", "is full or failing", "df -h")
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    configure(database_url=migrated, home=disk / "home")
    assert_says("up", f"{disk}/home cannot be used: Read-only file system", "DEEPVIS_HOME")
    configure(database_url=f"sqlite:///{disk}/new/deepvis.db")
    assert_says("worker", f"{disk}/new of the database cannot be made: Read-only", "DEEPVIS_DATABASE_URL")


def test_a_home_that_is_nowhere(configure: Callable[..., None]) -> None:
    configure(home="~nobody-of-that-name/home")
    for command in ("up", "status", "db upgrade"):
        assert_says(command, "DEEPVIS_HOME: ~nobody-of-that-name/home leads nowhere", "settings.md")


# --- networks, ports, the service ---------------------------------------------------------


def test_a_networks_file_that_is_wrong(configure: Callable[..., None], tmp_path: Path, migrated: str) -> None:
    configure(database_url=migrated, networks_file=tmp_path / "none.toml")
    for command in ("worker", "up", "networks"):
        assert_says(command, "none.toml cannot be used", "docs/networks.md")
    (tmp_path / "mine.toml").write_text('[networks.mine]\nfactory = "no_such_module:make"\n')
    configure(networks_file=tmp_path / "mine.toml")
    assert_says("layers mine", "no_such_module", "PYTHONPATH")
    assert_doctor_says("Networks", "no_such_module", "PYTHONPATH")


def test_where_nothing_can_listen(configure: Callable[..., None], migrated: str, silent: int) -> None:
    configure(database_url=migrated, port=silent)
    assert_says("api", f"cannot listen on 127.0.0.1:{silent}: Address already in use", "DEEPVIS_PORT")
    configure(host="203.0.113.7", tokens="x" * 40, port=free_port())
    for command in ("api", "up"):
        assert_says(command, "cannot listen on 203.0.113.7", "DEEPVIS_HOST")


@pytest.mark.parametrize("command", ["status", "atlas demo", "cancel x", "retry x"])
def test_a_service_that_is_none(configure: Callable[..., None], silent: int, command: str) -> None:
    configure(url=f"http://127.0.0.1:{free_port()}")
    assert_says(command, "No deepvis service answers", "`deepvis up`")
    configure(url="no address")
    assert_says(command, "DEEPVIS_URL is no web address", "http://")
    if command == "status":
        configure(url=f"http://127.0.0.1:{silent}")
        assert_says(command, "No deepvis service answers", "`deepvis up`")


def test_a_web_server_that_is_another(configure: Callable[..., None], tmp_path: Path) -> None:
    import http.server

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    configure(url=f"http://127.0.0.1:{server.server_port}")
    assert_says("status", "is no deepvis service", "DEEPVIS_URL")
    server.shutdown()
    server.server_close()


# --- settings and devices -------------------------------------------------------------------


def test_a_misspelt_setting_is_named_with_the_right_one(
    configure: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPVIS_DATABSE_URL", "sqlite:////tmp/x.db")
    result = run("api")
    assert result.stderr.startswith("Warning: DEEPVIS_DATABSE_URL is no setting. Did you mean 'DEEPVIS_DATABASE_URL'")
    assert "WARNING  Settings     DEEPVIS_DATABSE_URL is no setting." in run("doctor").output


FAKE_TORCH = '''
"""A torch whose CUDA fails at its first use, as with a driver that does not fit."""
class cuda:
    is_available = staticmethod(lambda: True)
def device(*parts): return ":".join(map(str, parts))
def ones(*shape, device): raise RuntimeError("CUDA error: no kernel image is available\\nmore\\nlines")
'''


@pytest.mark.parametrize(
    ("torch", "wrong"),
    [
        (FAKE_TORCH, "The GPU cuda fails at its first use: CUDA error: no kernel image is available. Check it with"),
        ("raise ImportError('libcudart.so is missing')", "torch cannot be imported: libcudart.so is missing."),
    ],
)
def test_a_worker_whose_device_fails_says_so_and_ends(
    tmp_path: Path, own_redis: Redis, migrated: str, torch: str, wrong: str
) -> None:
    (tmp_path / "torch.py").write_text(torch)
    path = os.pathsep.join([str(tmp_path), *sys.path])
    env = environment(tmp_path / "home", own_redis.url, database_url=migrated, device="cuda") | {"PYTHONPATH": path}
    command = [sys.executable, "-P", "-m", "workers.main"]
    ended = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode != 0
    assert f"ERROR the worker cannot start: {wrong}" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_doctor_answers_programs(configure: Callable[..., None], migrated: str) -> None:
    configure(database_url=migrated, broker_url="redis://127.0.0.1:1/0")
    answer = json.loads(run("doctor --json").stdout)
    states = {finding["name"]: finding["state"] for finding in answer["findings"]}
    assert answer["ok"] is False
    assert (states["Redis"], states["Database"], states["Pictures"]) == ("missing", "ok", "ok")


def test_cuda_that_is_asked_for_and_not_there(configure: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    configure(device="cuda")
    assert_doctor_says("CUDA", "DEEPVIS_DEVICE is cuda", "auto")
