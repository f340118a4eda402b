"""`deepvis health`: the probes of containers tell a part that works from one that does not."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select, update

from cli.health import reachable
from cli.main import main
from core.specs import DeviceKind
from db import clock, workers
from db.models import Network, Worker
from db.session import Sessions
from db.workers import WorkerBeat
from tests.conftest import ROOT
from tests.services import free_port


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="deepvis")


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch, database_url: str) -> None:
    """The environment names the test's database."""
    monkeypatch.setenv("DEEPVIS_DATABASE_URL", database_url)


def beat(sessions: Sessions, host: str) -> None:
    with sessions.begin() as session:
        workers.beat(
            session,
            WorkerBeat(
                id=f"{host}:1:a", host=host, pid=1, device="cpu", device_kind=DeviceKind.CPU, queues="", versions={}
            ),
        )


def test_a_worker_that_beats_is_healthy_until_it_stops(named: None, sessions: Sessions) -> None:
    here = socket.gethostname()
    assert run("health", "worker").exit_code == 1
    beat(sessions, f"not-{here}")
    assert run("health", "worker").exit_code == 1
    beat(sessions, here)
    assert run("health", "worker").exit_code == 0
    with sessions.begin() as session:
        workers.stop(session, f"{here}:1:a")
    silent = run("health", "worker")
    assert (silent.exit_code, silent.stderr) == (1, "No worker of this host has beaten within 35 s.\n")


def test_three_missed_heartbeats_are_too_many(named: None, sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPVIS_HEARTBEAT_SECONDS", "0.1")
    beat(sessions, socket.gethostname())
    for seconds, exit_code in ((4.0, 0), (5.5, 1)):
        with sessions.begin() as session:
            session.execute(update(Worker).values(heartbeat_at=clock.after(clock.now(session), -seconds)))
        assert run("health", "worker").exit_code == exit_code


def test_a_database_that_does_not_answer_is_not_the_workers_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPVIS_DATABASE_URL", f"postgresql://deepvis@127.0.0.1:{free_port()}/deepvis")
    asked = run("health", "worker")
    assert asked.exit_code == 2
    assert "The database cannot be asked" in asked.stderr


def test_a_database_that_accepts_and_is_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.health.DATABASE_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("DEEPVIS_DATABASE_URL", f"postgresql://deepvis@127.0.0.1:{silent.getsockname()[1]}/deepvis")
        start = time.monotonic()
        asked = run("health", "worker")
        assert time.monotonic() - start < 4  # the client itself would wait for five seconds, for each address
    assert asked.exit_code == 2
    assert "No answer from the database within 0.3 seconds." in asked.stderr


def test_probes_load_nothing_heavy(named: None, sessions: Sessions) -> None:
    beat(sessions, socket.gethostname())
    program = "import sys; from cli.main import main; main(['health', 'worker'], standalone_mode=False);"
    program += "print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {"torch", "torchvision", "numpy", "celery", "flask", "alembic"}.isdisjoint(loaded.stdout.split())


# --- the web server ------------------------------------------------------------------


class Answer(BaseHTTPRequestHandler):
    """Answers /healthz with the server's `status`."""

    def do_GET(self) -> None:
        status = self.server.status if self.path == "/healthz" else 404  # type: ignore[attr-defined]
        self.send_response(status)
        self.end_headers()

    def log_message(self, *_words: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HTTPServer]:
    made = HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("DEEPVIS_HOST", "0.0.0.0")
    monkeypatch.setenv("DEEPVIS_PORT", str(made.server_port))
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


@pytest.mark.parametrize(("status", "exit_code"), [(200, 0), (500, 1)])
def test_a_web_server_is_judged_by_its_answer(
    server: HTTPServer, monkeypatch: pytest.MonkeyPatch, status: int, exit_code: int
) -> None:
    server.status = status  # type: ignore[attr-defined]
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    assert run("health", "api").exit_code == exit_code


def test_no_web_server_is_unhealthy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPVIS_PORT", str(port := free_port()))
    asked = run("health", "api")
    assert (asked.exit_code, asked.stderr) == (1, f"No web server answers at 127.0.0.1, port {port}.\n")


@pytest.mark.parametrize(("host", "where"), [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("10.0.0.7", "10.0.0.7")])
def test_a_server_is_asked_where_it_listens(host: str, where: str) -> None:
    assert reachable(host) == where


# --- the catalogue without a worker ------------------------------------------------------


def test_the_networks_are_known_before_the_first_worker(named: None, sessions: Sessions) -> None:
    for _ in range(2):
        done = run("db", "catalogue")
        assert (done.exit_code, done.stdout.endswith(" networks are known.\n")) == (0, True), done.output
    with sessions() as session:
        assert {"demo", "alexnet", "resnet18@random"} <= set(session.scalars(select(Network.name)))


def test_the_catalogue_needs_tables(monkeypatch: pytest.MonkeyPatch, tmp_path: os.PathLike[str]) -> None:
    monkeypatch.setenv("DEEPVIS_DATABASE_URL", f"sqlite:///{tmp_path}/empty.db")
    assert run("db", "catalogue").stderr.endswith("Run `deepvis db upgrade`.\n")
