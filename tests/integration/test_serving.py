"""Clients that take their time: a real `deepvis api`, and connections that say little."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest

from db import networks
from tests.faults.api_process import ApiProcess
from tests.integration.records import SOURCE
from tests.services import Installation

pytestmark = pytest.mark.integration

SECONDS = 2
MARGIN_SECONDS = 8  # a busy machine's, and the second between two looks
HEAD = b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ApiProcess]:
    """A web server with four threads, which gives each client two seconds."""
    installation = Installation(tmp_path, "redis://127.0.0.1:1/0", web_threads=4, request_seconds=SECONDS)
    with installation.sessions.begin() as session:
        networks.register(session, SOURCE)
    with ApiProcess(installation) as process:
        yield process
    installation.close()


def answered_in(api: ApiProcess) -> float:
    start = time.monotonic()
    assert httpx.get(f"{api.url}/healthz", timeout=30).is_success
    return time.monotonic() - start


@pytest.mark.parametrize(
    "said",
    [b"G", b"GET / HTTP/1.1\r\nHost: x\r\n", HEAD + b"Content-Length: 50\r\n\r\ntoken=",
     HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nto"],
    ids=["a byte", "half a head", "half a body", "half a chunk"],
)  # fmt: skip
def test_connections_that_say_little_hold_nobody_up(api: ApiProcess, said: bytes) -> None:
    with ExitStack() as stack:
        for _ in range(4):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", api.port)))
            sock.sendall(said)
        time.sleep(0.3)
        assert answered_in(api) < SECONDS + MARGIN_SECONDS


def test_twenty_connections_of_one_byte(api: ApiProcess) -> None:
    with ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(socket.create_connection(("127.0.0.1", api.port))).sendall(b"G")
        assert answered_in(api) < 5 * SECONDS + MARGIN_SECONDS  # each thread ends five of them


def test_a_byte_now_and_then_does_not_help(api: ApiProcess) -> None:
    start = time.monotonic()
    with socket.create_connection(("127.0.0.1", api.port)) as sock, suppress(ConnectionError):
        sock.sendall(b"GET / HTTP/1.1\r\nX: ")
        sock.settimeout(0.3)
        while time.monotonic() - start < 30:
            sock.sendall(b"x")
            with suppress(TimeoutError):
                if not sock.recv(1):
                    break
    assert time.monotonic() - start < SECONDS + MARGIN_SECONDS


def test_who_listens_may_take_their_time(api: ApiProcess) -> None:
    made = httpx.post(f"{api.url}/api/v1/atlases", json={"network": SOURCE.name}, timeout=30).raise_for_status()
    start, said = time.monotonic(), 0
    with httpx.stream("GET", f"{api.url}{made.json()['links']['events']}", timeout=30) as events:
        for _ in events.iter_raw():
            said += 1
            if time.monotonic() - start > 3 * SECONDS:
                break
    assert said > 0
    assert time.monotonic() - start > 3 * SECONDS
