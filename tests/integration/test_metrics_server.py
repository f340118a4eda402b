"""A worker's metrics over HTTP: who may read them, and on which port."""

import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

import pytest

from core.settings import Settings
from tests.services import free_port
from workers.metrics import WorkerMetrics
from workers.metrics_server import MetricsServer

TOKEN = "a-token-of-enough-characters"
Make = Callable[..., Settings]


@pytest.fixture
def serve(make_settings: Make) -> Iterator[Callable[..., MetricsServer]]:
    made: list[MetricsServer] = []

    def start(**changes: object) -> MetricsServer:
        server = MetricsServer(make_settings(**changes), WorkerMetrics().registry)
        server.start()
        made.append(server)
        return server

    yield start
    for server in made:
        server.close()


def get(port: int | None, path: str = "/metrics", token: str = "", host: str = "127.0.0.1") -> tuple[int, str]:
    asked = urllib.request.Request(
        f"http://{host}:{port}{path}", headers={"Authorization": f"Bearer {token}"} if token else {}
    )
    try:
        with urllib.request.urlopen(asked, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_off_by_default(serve: Callable[..., MetricsServer]) -> None:
    assert serve().port is None


def test_serves_metrics_and_nothing_else(serve: Callable[..., MetricsServer]) -> None:
    server = serve(metrics_port=free_port())
    status, text = get(server.port)
    assert status == 200
    assert 'deepvis_shards_total{outcome="done"} 0.0' in text
    assert get(server.port, "/")[0] == get(server.port, "/metrics/x")[0] == 404


def test_a_token_is_asked_for_where_one_is_set(serve: Callable[..., MetricsServer]) -> None:
    server = serve(metrics_port=free_port(), metrics_token=TOKEN)
    assert [get(server.port, token=token)[0] for token in ("", "wrong", TOKEN[:-1], TOKEN)] == [401, 401, 401, 200]
    assert "deepvis" not in get(server.port)[1]


def test_workers_of_one_machine_take_successive_ports(serve: Callable[..., MetricsServer]) -> None:
    first = serve(metrics_port=free_port())
    second = serve(metrics_port=first.port)
    assert first.port is not None
    assert second.port is not None
    assert first.port < second.port < first.port + 16
    assert get(second.port)[0] == 200


def test_a_worker_without_a_port_works_on(
    serve: Callable[..., MetricsServer], caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 65535))
        taken.listen()
        assert serve(metrics_port=65535).port is None
    assert "no metrics: ports 65535 to 65535 cannot be used (Address already in use)" in caplog.text


def test_serves_on_ipv6(serve: Callable[..., MetricsServer]) -> None:
    if not socket.has_ipv6:
        pytest.skip("there is no IPv6 here")
    server = serve(metrics_host="::1", metrics_port=free_port())
    if server.port is None:
        pytest.skip("there is no IPv6 here")
    assert get(server.port, host="[::1]")[0] == 200
