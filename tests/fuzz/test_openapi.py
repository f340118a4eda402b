"""The service answers whatever its own OpenAPI document allows as the document says, and refuses the rest in order.

`FUZZ_SECONDS=300` goes on for five minutes with ever new data, `FUZZ_SEED=7` begins elsewhere; see `make fuzz`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import pytest
from limits import RateLimitItemPerMinute
from werkzeug.serving import WSGIRequestHandler, make_server

from api.security import limits
from api.services import EXTENSION
from core.specs import Scope
from db import tokens
from tests.fuzz.conftest import MakeService
from tests.fuzz.examiner import Report, Service, examine

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(0),
    pytest.mark.filterwarnings("ignore:Generating overly large repr"),  # of a large request: only costs time
]

REFUSALS = {400, 401, 403, 404, 405, 409, 413, 415, 422, 429, 503}

NEED_A_LIVE_WORKER = {"POST /api/v1/live/{session_id}/frames", "DELETE /api/v1/live/{session_id}"}
"""No live worker runs here, and a session that nobody sends frames to is over within seconds."""


def operations(service: Service, token: str) -> set[str]:
    """Every operation of the document, as "GET /path"."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    document = service.app.test_client().get("/api/v1/openapi.json", headers=headers).json
    return {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}


def check(report: Report, service: Service, token: str = "") -> None:
    """No fault, and no operation that was only ever refused: then the examination would be of nothing."""
    assert not report.faults, "\n\n".join(report.faults)
    assert set(report.answers) == operations(service, token)
    refused = {operation: found for operation, found in report.answers.items() if found <= REFUSALS}
    assert set(refused) <= NEED_A_LIVE_WORKER, refused


def test_the_service_does_as_its_document_says(make_service: MakeService) -> None:
    service = make_service()
    check(examine(service, examples=25), service)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_with_tokens_the_service_does_as_its_document_says_and_lets_nobody_in(
    make_service: MakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The examiner guesses at every operation; after ten guesses it would only be told to wait.
    monkeypatch.setattr(limits, "GUESSES", RateLimitItemPerMinute(1_000_000))
    service = make_service(require_tokens=True, requests_per_minute=100_000)
    with service.app.extensions[EXTENSION].sessions.begin() as session:
        token = tokens.make(session, "fuzzer", Scope.ADMIN)
    with listening(service) as address:  # schemathesis takes the token away again only over a real connection
        check(examine(service, examples=8, token=token, address=address), service, token)


@contextmanager
def listening(service: Service) -> Iterator[str]:
    """The address at which the service answers."""
    server = make_server("127.0.0.1", 0, service.app, threaded=True, request_handler=Quiet)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Quiet(WSGIRequestHandler):
    """Logs no request."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing."""
