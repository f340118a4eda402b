"""The REST API as it is served: gunicorn on a port of its own, a real Redis, SQLite and a folder store."""

import json
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from db import atlases
from db.leases import commit_shard, lease_shard
from db.results import Pictures
from tests.conftest import ROOT
from tests.integration import records
from tests.services import Installation, Redis, free_port, wait_until
from tests.unit.api.conftest import image_bytes

pytestmark = pytest.mark.integration

DEMO = records.SOURCE.model_copy(update={"name": "demo"})
WISH = {"network": "demo", "recipes": ["fourier"]}


@contextmanager
def serving(installation: Installation, **settings: object) -> Iterator[httpx.Client]:
    """gunicorn with the entry that docs/api.md names, in a process of its own."""
    port = free_port()
    env = installation.env | {f"DEEPVIS_{name.upper()}": str(value) for name, value in settings.items()}
    command = ["-m", "gunicorn", "--worker-class", "gthread", "--threads", "8", "--graceful-timeout", "1"]
    log_path = installation.settings.home_path / "web.log"
    with log_path.open("wb") as log:
        bind = ["--bind", f"127.0.0.1:{port}", "api.wsgi:application()"]
        process = subprocess.Popen([sys.executable, *command, *bind], cwd=ROOT, env=env, stdout=log, stderr=log)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False) as client:
        try:
            wait_until(lambda: answers(client) or process.poll() is not None, 60, "an answer of the web server")
            assert process.poll() is None, log_path.read_text()
            yield client
        finally:
            process.terminate()
            process.wait(20)
    assert "Traceback" not in log_path.read_text()


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/healthz").is_success
    except httpx.TransportError:
        return False


@pytest.fixture
def demo(installation: Installation) -> Installation:
    """An installation that knows the network "demo", one unit of whose "conv1" has a picture; its atlas goes on."""
    layers = [records.layer("conv1", 0, 6), records.layer("classes", 1, 3, kind="linear", labelled=True)]
    keys = {kind: installation.store.put(image_bytes(name, 9)) for kind, name in (("blob", "PNG"), ("sheet", "WEBP"))}
    spec = records.wish(network="demo", layers=("conv1",))
    with installation.sessions.begin() as session:
        records.describe(session, records.info(DEMO, layers))
    with installation.sessions.begin() as session:
        atlas, _ = atlases.create(session, spec, max_open=9)
        records.save_plan(session, atlas.id, records.shards("conv1", [(0,), (1, 2, 3, 4, 5)]))
    with installation.sessions.begin() as session:
        lease = lease_shard(session, 1, "w", 600)
    assert lease is not None
    with installation.sessions.begin() as session:
        commit_shard(session, lease, Pictures([records.picture(0, **keys)]))
    return installation


@pytest.fixture
def web(demo: Installation) -> Iterator[httpx.Client]:
    with serving(demo) as client:
        yield client


def waiting_messages(redis: Redis) -> list[str]:
    """Names of the tasks that wait in Redis."""
    import redis as client_library

    with client_library.Redis(port=redis.port) as client:
        return [json.loads(message)["headers"]["task"] for message in client.lrange("deepvis:deepvis.any", 0, -1)]


def test_an_atlas_is_asked_for_watched_and_cancelled(web: httpx.Client, redis: Redis) -> None:
    created = web.post("/api/v1/atlases", json=WISH)
    assert created.status_code == 202
    links = created.json()["links"]
    assert waiting_messages(redis) == ["deepvis.plan"]
    with web.stream("GET", links["events"]) as stream:
        lines = stream.iter_lines()
        assert next(line for line in lines if line.startswith("event")) == "event: progress"
        assert web.post(links["cancel"]).json()["state"] == "cancelled"
        assert next(line for line in lines if line.startswith("event")) == "event: finished"
        assert json.loads(next(line for line in lines if line.startswith("data"))[6:])["state"] == "cancelled"
        assert [line for line in lines if line] == []  # and it ends
    assert web.get(links["events"], headers={"Last-Event-ID": "finished"}).status_code == 204


def test_one_key_is_one_atlas_however_many_ask_at_once(web: httpx.Client, demo: Installation, redis: Redis) -> None:
    def ask(_: int) -> str:
        response = web.post("/api/v1/atlases", json=WISH, headers={"Idempotency-Key": "the-same"})
        assert response.status_code == 202, response.text
        return str(response.json()["id"])

    with ThreadPoolExecutor(8) as pool:
        ids = set(pool.map(ask, range(16)))
    assert len(ids) == 1
    assert waiting_messages(redis) == ["deepvis.plan"]


def test_a_body_that_never_ends_is_cut_off_and_nothing_is_stored(web: httpx.Client) -> None:
    def ids() -> list[str]:
        return [item["id"] for item in web.get("/api/v1/atlases").json()["items"]]

    before = ids()

    def endless() -> Iterator[bytes]:
        yield b'{"network": "demo", "layers": ["'
        for _ in range(64):
            yield b"x" * 65_536

    response = web.post("/api/v1/atlases", content=endless(), headers={"Content-Type": "application/json"})
    assert (response.status_code, response.json()["type"]) == (413, "/problems/too-large")
    assert response.headers["Content-Type"] == "application/problem+json"
    assert ids() == before


def test_raw_requests_are_answered_with_problems(web: httpx.Client) -> None:
    """What no client library sends: no Host, another site's Host, a path that climbs."""
    lines = {
        "GET /api/v1/recipes HTTP/1.0\r\n\r\n": b"400",
        "GET /api/v1/recipes HTTP/1.1\r\nHost: evil.example\r\n\r\n": b"400",
        "GET /sheets/../../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n": b"404",
        "GET /assets/..%2f..%2fapp.py HTTP/1.1\r\nHost: localhost\r\n\r\n": b"404",
    }
    for line, status in lines.items():
        with socket.create_connection((web.base_url.host, web.base_url.port or 80), 10) as sock:
            sock.sendall(line.encode())
            answer = sock.recv(65_536)
        assert answer.split()[1] == status, (line, answer)
        assert b"application/problem+json" in answer


def test_without_a_broker_atlases_are_accepted_quickly(demo: Installation) -> None:
    with serving(demo, broker_url=f"redis://127.0.0.1:{free_port()}/0") as web:
        started = time.monotonic()
        response = web.post("/api/v1/atlases", json=WISH)
        assert response.status_code == 202
        assert time.monotonic() - started < 10
        assert web.get(response.json()["links"]["self"]).json()["state"] == "queued"
        assert web.get("/readyz").status_code == 200


def test_a_server_for_other_machines_needs_tokens(demo: Installation) -> None:
    with serving(demo, host="0.0.0.0") as web:
        for path, status in {"/healthz": 200, "/readyz": 200, "/login": 200, "/api/v1/networks": 401}.items():
            assert web.get(path).status_code == status, path
        (said,) = [line for line in (demo.settings.home_path / "web.log").read_text().splitlines() if "token" in line]
        assert "`deepvis tokens make NAME" in said
        command = [sys.executable, "-m", "cli", "tokens", "make", "lab", "--scope", "submit", "--expires", "1d"]
        made = subprocess.run(command, cwd=ROOT, env=demo.env, capture_output=True, text=True, check=True)
        token = made.stdout.strip()
        headers = {"Authorization": f"Bearer {token}"}
        assert web.get("/api/v1/networks", headers=headers).status_code == 200
        assert web.post("/api/v1/atlases", json=WISH, headers=headers).json()["owner"] == "lab"
        for scheme, secure in (("http", False), ("https", True)):  # as a proxy on this machine says
            said = {"X-Forwarded-Proto": scheme}
            web.cookies.clear()
            page = web.get("/login", headers=said)
            form = {"token": token, "form": re.findall(r'name="form" value="([^"]+)"', page.text)[-1]}
            own = {"Cookie": page.headers["Set-Cookie"].partition(";")[0]}  # httpx keeps no Secure cookie on HTTP
            cookie = web.post("/login", data=form, headers={**said, **own}).headers["Set-Cookie"]
            assert ("Secure" in cookie) is secure
            assert cookie.startswith("__Host-") is secure


def test_the_five_lines_of_the_documentation_run(web: httpx.Client, demo: Installation, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    first_block = text.split("```")[1]
    lines = [line for line in first_block.splitlines() if line.startswith("curl ")]
    assert len(lines) == 5
    atlas_id = "unknown"
    answered = []
    for line in lines:
        command = line.replace("http://127.0.0.1:8357", str(web.base_url).rstrip("/")).replace("/ID/", f"/{atlas_id}/")
        command = command.replace("curl ", "curl --silent --show-error --fail-with-body --noproxy '*' --max-time 2 ", 1)
        run = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert run.returncode == (28 if " -N " in line else 0), (
            run.stdout + run.stderr
        )  # events go on until told not to
        answered.append(run.stdout)
        if found := re.search(r'"id": ?"([^"]+)"', run.stdout):
            atlas_id = found[1]
    assert json.loads(answered[0])["items"][0]["name"] == "demo"
    assert json.loads(answered[1])["state"] == "queued"
    assert "event: progress" in answered[2]
    assert json.loads(answered[3])["items"][0]["address"] == "conv1:0"
    assert (tmp_path / "unit.png").read_bytes() == image_bytes("PNG", 9)
