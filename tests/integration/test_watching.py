"""Real processes, watched: a worker's metrics and log over an atlas, and a web server whose database goes away."""

import contextlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from api.readiness import KEPT_SECONDS
from core.recipes import resolve
from core.specs import AtlasSpec
from tests.conftest import ROOT
from tests.services import Installation, Redis, free_port, running_postgres, wait_until

pytestmark = pytest.mark.integration

WISH = AtlasSpec(network="demo", layers=("conv1",), units=tuple(range(8)), recipes=resolve(["bold", "soft"], 20))
TOKEN = "a-token-of-enough-characters"


def samples(text: str) -> dict[str, float]:
    """What is exported, by name and labels."""
    return {
        f"{s.name}{sorted(s.labels.values())}": s.value for f in text_string_to_metric_families(text) for s in f.samples
    }


def json_lines(log: str) -> list[dict[str, Any]]:
    """Every line of a log; each must be one JSON object."""
    return [json.loads(line) for line in log.splitlines()]


def test_a_worker_is_watched_over_an_atlas(installation: Installation) -> None:
    port = free_port()
    with installation.worker(log_format="auto", metrics_port=port, metrics_token=TOKEN) as worker:
        installation.wait_described()
        atlas_id = installation.create(WISH)
        installation.wait_state(atlas_id, "complete")
        address = re.search(r"metrics at (http://127\.0\.0\.1:\d+/metrics)", worker.log)
        assert address
        headers = {"Authorization": f"Bearer {TOKEN}"}
        wait_until(lambda: "deepvis_unit_images_total 16.0" in httpx.get(address[1], headers=headers).text, 10)
        found = samples(httpx.get(address[1], headers=headers).text)
        assert httpx.get(address[1]).status_code == 401
        worker.terminate()
        worker.wait()
        lines = json_lines(worker.log)
    shards = installation.shards(atlas_id)
    assert found["deepvis_shards_total['done']"] == len(shards)
    assert found["deepvis_shards_total['failed']"] == 0
    for stage in ("lease", "load", "compute", "encode", "store", "commit"):
        assert found[f"deepvis_shard_stage_seconds_count['{stage}']"] == len(shards)
    assert found["deepvis_shard_stage_seconds_sum['compute']"] > 0
    assert found["deepvis_worker_busy_seconds_total[]"] > 0
    check_lines(lines, atlas_id, {shard.id for shard in shards})


def check_lines(lines: list[dict[str, Any]], atlas_id: str, shards: set[int]) -> None:
    """The log of a worker that made the atlas names it and its shards, wherever a line is about them."""
    for line in lines:
        assert {"time", "level", "logger", "pid", "message"} <= set(line)
        if "shard " in line["message"] and "shards" not in line["message"]:
            assert line["shard"] in shards
    committed = [line for line in lines if "committed after" in line["message"]]
    assert {line["shard"] for line in committed} == shards
    for line in committed:
        assert line["atlas"] == atlas_id
        assert line["layer"] == "conv1"
        assert re.fullmatch(r"\d-\d", line["units"])
        assert line["seconds"] > 0
        assert list(line["stages"]) == ["lease", "load", "compute", "encode", "store", "commit"]
    assert len({line["worker"] for line in committed}) == 1
    assert lines[-1]["message"].startswith("worker: Warm shutdown") or "worker" in lines[-1]


def test_a_broker_that_goes_away_is_told_in_lines(installation: Installation, redis: Redis) -> None:
    with installation.worker(log_format="json") as worker:
        installation.wait_described()
        redis.kill()
        time.sleep(1)
        redis.start()
        wait_until(lambda: "Connection to broker lost" in worker.log, what="a lost connection")
        installation.wait_state(installation.create(WISH), "complete")
        lines = json_lines(worker.log)
    assert [line["message"] for line in lines if "exception" in line] == []
    assert not any("CPendingDeprecationWarning" in line["message"] for line in lines)


def test_a_worker_refuses_to_serve_metrics_to_everybody(installation: Installation) -> None:
    env = installation.env | {"DEEPVIS_METRICS_HOST": "0.0.0.0", "DEEPVIS_METRICS_PORT": str(free_port())}
    ended = subprocess.run(
        [sys.executable, "-m", "cli", "worker"],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 2
    assert ended.stderr.splitlines() == [
        "Error: Serving metrics on 0.0.0.0 lets other machines in, and no token for them is set.",
        "Set DEEPVIS_METRICS_TOKEN to a long random token, or DEEPVIS_METRICS_HOST to 127.0.0.1.",
    ]


# --- the web server --------------------------------------------------------------


@contextlib.contextmanager
def running_web(installation: Installation, log: Path, **settings: object) -> Iterator[str]:
    """`deepvis api` of the installation; its address."""
    port = free_port()
    env = installation.env | {f"DEEPVIS_{name.upper()}": str(value) for name, value in settings.items()}
    env |= {"DEEPVIS_PORT": str(port), "DEEPVIS_LOG_FORMAT": "auto"}
    with log.open("wb") as file:
        process = subprocess.Popen([sys.executable, "-m", "cli", "api"], cwd=ROOT, env=env, stdout=file, stderr=file)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: _answers(url), 30, "an answer of the web server")
        yield url
    finally:
        process.terminate()
        process.wait(20)


def _answers(url: str) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"{url}/healthz", timeout=2).is_success
    return False


def test_readiness_when_the_database_goes_away(tmp_path: Path, redis: Redis) -> None:
    with ExitStack() as away:
        url = away.enter_context(running_postgres())
        installation = Installation(tmp_path / "home", redis.url, database_url=url)
        installation.close()
        with running_web(installation, tmp_path / "web.log") as web:
            parts = {"store": "ok", "broker": "ok"}
            assert httpx.get(f"{web}/readyz").json() == {"status": "ready", "database": "ok", **parts}
            assert "deepvis_database_up 1.0" in httpx.get(f"{web}/metrics").text
            away.close()
            time.sleep(KEPT_SECONDS)
            start = time.monotonic()
            found = httpx.get(f"{web}/readyz")
            assert time.monotonic() - start < 4
            assert (found.status_code, found.json()["status"], found.json()["database"]) == (
                503,
                "not ready",
                "unreachable",
            )
            assert httpx.get(f"{web}/healthz").status_code == 200
            for path in ("/networks", "/api/v1/networks"):
                answer = httpx.get(f"{web}{path}")
                assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)
            time.sleep(5)  # what the metrics keep is older now
            assert "deepvis_database_up 0.0" in httpx.get(f"{web}/metrics").text
    lines = json_lines((tmp_path / "web.log").read_text())
    assert [line for line in lines if "exception" in line] == []
    told = [line["message"] for line in lines if line["level"] == "WARNING"]
    assert any(said.startswith("readiness: database: unreachable") for said in told)
    requests = [line for line in lines if line["logger"] == "gunicorn.access"]
    assert {"/readyz", "/healthz", "/metrics", "/networks", "/api/v1/networks"} == {line["path"] for line in requests}
    assert {line["status"] for line in requests if line["path"] == "/readyz"} == {200, 503}


def test_the_access_log_tells_no_query_and_cannot_be_forged(installation: Installation, tmp_path: Path) -> None:
    with running_web(installation, tmp_path / "web.log") as web:
        httpx.get(f"{web}/search?q=private")
        httpx.get(f"{web}/nothing%0A2026-01-01%20ERROR%20forged")
    text = (tmp_path / "web.log").read_text()
    lines = [line for line in json_lines(text) if line.get("path", "/healthz") != "/healthz"]
    assert [(line["method"], line["path"], line["status"]) for line in lines] == [
        ("GET", "/search", 200),
        ("GET", "/nothing%0A2026-01-01%20ERROR%20forged", 404),
    ]
    assert {line["owner"] for line in lines} == {"local"}
    assert "private" not in text


def test_the_access_log_can_be_switched_off(installation: Installation, tmp_path: Path) -> None:
    with running_web(installation, tmp_path / "web.log", access_log="false") as web:
        httpx.get(f"{web}/readyz")
    assert "gunicorn.access" not in (tmp_path / "web.log").read_text()
