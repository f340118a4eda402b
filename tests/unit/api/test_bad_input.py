"""Every kind of bad input: the right status, a problem document that says what would be right, and nothing stored."""

import io
import json
from typing import Any

import pytest

from tests.unit.api.conftest import Front, problem

GOOD = {"network": "tiny"}
WHOLE = {"name": "mine", "method": {"method": "pixels"}}


@pytest.fixture
def nothing_stored(front: Front):
    """The test leaves every table and the store as they were, and sends no message."""
    before = front.counts()
    yield
    assert front.counts() == before
    assert front.messages() == []


@pytest.mark.usefixtures("nothing_stored")
@pytest.mark.parametrize(
    ("changes", "status", "slug", "says"),
    [
        ({"network": "tinny"}, 404, "unknown-network", "'tiny'"),
        ({"network": "../../etc/passwd"}, 422, "invalid-request", "network"),
        ({"network": "http://example.com/net"}, 422, "invalid-request", "network"),
        ({"network": ""}, 422, "invalid-request", "network"),
        ({"network": 7}, 422, "invalid-request", "network"),
        ({"network": None}, 422, "invalid-request", "network"),
        ({"network": "x" * 5000}, 422, "invalid-request", "network"),
        ({"layers": ["konv"]}, 422, "unknown-layer", "'conv'"),
        ({"layers": ["conv", ""]}, 422, "invalid-request", "layers.1"),
        ({"layers": "conv"}, 422, "invalid-request", "layers"),
        ({"layers": ["conv"] * 5000}, 422, "invalid-request", "layers"),
        ({"layers": ["conv"], "units": [6]}, 422, "unit-out-of-range", "0 to 5"),
        ({"units": [5]}, 422, "unit-out-of-range", "0 to 2"),
        ({"units": [-1]}, 422, "invalid-request", "units.0"),
        ({"units": [1.5]}, 422, "invalid-request", "units.0"),
        ({"units": [True]}, 422, "invalid-request", "units.0"),
        ({"units": ["7-3"]}, 422, "invalid-request", "7-3"),
        ({"units": ["a-b"]}, 422, "invalid-request", "units: 'a-b' is no range of units; write it like '0-63'"),
        ({"units": ["7", "-1"]}, 422, "invalid-request", "'-1' is no range"),
        ({"units": ["0-99999999"]}, 422, "invalid-request", "65536"),
        ({"units": ["0-65535"] * 60_000}, 422, "invalid-request", "65536"),
        ({"units": [10**30]}, 422, "invalid-request", "units.0"),
        ({"recipes": ["furier"]}, 422, "unknown-recipe", "'fourier'"),
        ({"recipes": ["bold", "bold"]}, 422, "unknown-recipe", "twice"),
        ({"recipes": [{**WHOLE, "steps": -5}]}, 422, "invalid-request", "steps"),
        ({"recipes": [{**WHOLE, "steps": 10**9}]}, 422, "invalid-request", "steps"),
        ({"recipes": [{**WHOLE, "secret": 1}]}, 422, "invalid-request", "secret"),
        ({"recipes": [{**WHOLE, "name": "Bad Name!"}]}, 422, "invalid-request", "name"),
        ({"recipes": [{"method": {"method": "pixels", "decay": 2}}]}, 422, "invalid-request", "decay"),
        ({"recipes": [{"method": {"method": "pixels", "blur_width": 0.1}}]}, 422, "invalid-request", "0.3"),
        ({"recipes": [7]}, 422, "invalid-request", "recipes.0"),
        ({"recipes": [None]}, 422, "invalid-request", "recipes.0"),
        ({"seeds": 0}, 422, "invalid-request", "seeds"),
        ({"seeds": 10}, 422, "invalid-request", "seeds"),
        ({"seeds": "many"}, 422, "invalid-request", "seeds"),
        ({"steps": -1}, 422, "invalid-request", "steps"),
        ({"steps": 0}, 422, "invalid-request", "steps"),
        ({"steps": 10_001}, 422, "invalid-request", "steps"),
        ({"weight": 0}, 422, "invalid-request", "weight"),
        ({"weight": -1}, 422, "invalid-request", "weight"),
        ({"weight": "1"}, 422, "invalid-request", "weight"),
        ({"weight": True}, 422, "invalid-request", "weight"),
        ({"recipes": [{**WHOLE, "steps": "100"}]}, 422, "invalid-request", "steps"),
        ({"recipes": [{"method": {"method": "pixels", "clamp": "yes"}}]}, 422, "invalid-request", "clamp"),
        ({"checkpoint": "/etc/passwd"}, 422, "invalid-request", "checkpoint"),
    ],
)  # fmt: skip
def test_a_wish_that_cannot_be(front: Front, changes: dict[str, Any], status: int, slug: str, says: str) -> None:
    document = problem(front.client.post("/api/v1/atlases", json={**GOOD, **changes}), status, slug)
    assert says in json.dumps(document)
    assert document["remedy"]
    if slug == "invalid-request":
        assert all(error["message"] and error["location"] == "json" for error in document["errors"])


@pytest.mark.usefixtures("nothing_stored")
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"not json",
        b'{"network": "tiny"',
        b'{"network": "tiny"} trailing',
        b"\xff\xfe",
        b'{"network": "\\ud800"}',
        b'{"network": "tiny", "recipes": [{"title": "a\\u0000b"}]}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"seeds": ' + b"1" * 5000 + b"}",
    ],
)
def test_malformed_json(front: Front, body: bytes) -> None:
    response = front.client.post("/api/v1/atlases", data=body, content_type="application/json")
    assert "JSON" in problem(response, 400, "malformed-json")["title"]


@pytest.mark.usefixtures("nothing_stored")
@pytest.mark.parametrize("body", [b"[]", b"3", b'"tiny"', b"null", b"{}", b'{"seeds": NaN}', b'{"weight": Infinity}'])
def test_json_that_is_no_wish(front: Front, body: bytes) -> None:
    response = front.client.post("/api/v1/atlases", data=body, content_type="application/json")
    problem(response, 422, "invalid-request")


def test_escaped_backslashes_are_no_nul(front: Front) -> None:
    body = b'{"network": "tiny", "recipes": [{"title": "a\\\\u0000b"}]}'
    assert front.client.post("/api/v1/atlases", data=body, content_type="application/json").status_code == 202


@pytest.mark.usefixtures("nothing_stored")
@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""]
)
def test_a_body_that_is_not_json(front: Front, content_type: str) -> None:
    response = front.client.post("/api/v1/atlases", data=b'{"network": "tiny"}', content_type=content_type)
    assert "application/json" in problem(response, 415, "unsupported-media-type")["remedy"]


TOO_LONG = json.dumps({**GOOD, "layers": ["x" * 200] * 10_000}).encode()


@pytest.mark.usefixtures("nothing_stored")
@pytest.mark.parametrize("path", ["/api/v1/atlases", "/api/v1/atlases/x/cancel", "/login", "/"])
def test_a_body_over_the_limit(front: Front, path: str) -> None:
    response = front.client.post(path, data=TOO_LONG, content_type="application/json")
    assert "1048576" in problem(response, 413, "too-large")["detail"]


@pytest.mark.usefixtures("nothing_stored")
def test_a_body_over_the_limit_that_does_not_say_so(front: Front) -> None:
    response = front.client.post(
        "/api/v1/atlases",
        input_stream=io.BytesIO(TOO_LONG),
        content_type="application/json",
        headers={"Transfer-Encoding": "chunked"},
        environ_overrides={"wsgi.input_terminated": True},
    )
    problem(response, 413, "too-large")


@pytest.mark.usefixtures("nothing_stored")
@pytest.mark.parametrize(
    ("method", "path", "status", "slug"),
    [
        ("GET", "/nothing", 404, "not-found"),
        ("GET", "/api/v1/nothing", 404, "not-found"),
        ("GET", "/api/v1/networks/nope", 404, "unknown-network"),
        ("GET", "/api/v1/networks/nope/layers", 404, "unknown-network"),
        ("POST", "/api/v1/networks/nope/description", 404, "unknown-network"),
        ("GET", "/api/v1/networks/tiny/layers/konv", 404, "unknown-layer"),
        ("GET", "/api/v1/networks/tiny/layers/konv/units", 404, "unknown-layer"),
        ("GET", "/api/v1/networks/tiny/layers/conv/units/6", 404, "unit-out-of-range"),
        ("GET", f"/api/v1/networks/tiny/layers/conv/units/{10**30}", 404, "unit-out-of-range"),
        ("GET", "/api/v1/networks/tiny/layers/conv/units/-1", 404, "unknown-layer"),
        ("GET", "/api/v1/networks/tiny/layers/conv/units?recipe=nope", 422, "unknown-recipe"),
        ("GET", "/api/v1/networks/tiny/layers/conv/units?sort=colour", 422, "invalid-request"),
        ("GET", "/api/v1/networks/tiny/layers/conv/units?seed=-1", 422, "invalid-request"),
        ("GET", "/api/v1/networks/tiny/layers/conv/units?limit=501", 422, "invalid-request"),
        ("GET", "/api/v1/networks/tiny/layers/conv/units?limit=0", 422, "invalid-request"),
        ("GET", "/api/v1/networks/tiny/layers/conv/units?cursor=xyz", 422, "invalid-request"),
        ("GET", "/api/v1/networks?cursor=WzFd", 422, "invalid-request"),
        ("GET", "/api/v1/networks?limmit=3", 422, "invalid-request"),
        ("GET", "/api/v1/networks?q=%00", 400, "bad-request"),
        ("GET", "/api/v1/networks?limit=1&limit=2", 400, "bad-request"),
        ("GET", "/api/v1/networks?cursor=WyJhXHUwMDAwIl0", 422, "invalid-request"),  # a NUL within
        ("GET", "/api/v1/networks/tiny/layers/conv/units?cursor=W05hTiwxXQ", 422, "invalid-request"),  # NaN within
        ("GET", "/api/v1/networks/%00", 400, "bad-request"),
        ("GET", "/api/v1/pictures/999", 404, "not-found"),
        ("GET", f"/api/v1/pictures/{10**30}", 404, "not-found"),
        ("GET", f"/api/v1/pictures/{'9' * 5000}", 404, "not-found"),
        ("GET", "/api/v1/pictures/1e3/file", 404, "not-found"),
        ("GET", "/sheets/../../etc/passwd.webp", 404, "not-found"),
        ("GET", "/sheets/..%2f..%2fetc%2fpasswd.webp", 404, "not-found"),
        ("GET", f"/sheets/{'a' * 64}.webp", 404, "not-found"),
        ("GET", f"/sheets/{'A' * 64}.webp", 404, "not-found"),
        ("GET", "/problems/nope", 404, "not-found"),
        ("DELETE", "/api/v1/atlases", 405, "method-not-allowed"),
        ("PUT", "/api/v1/networks/tiny", 405, "method-not-allowed"),
        ("POST", "/healthz", 405, "method-not-allowed"),
    ],
)  # fmt: skip
def test_addresses_that_lead_nowhere(front: Front, method: str, path: str, status: int, slug: str) -> None:
    response = front.client.open(path, method=method)
    problem(response, status, slug)
    if status == 405:
        assert "GET" in response.headers["Allow"]


def test_a_checkpoint_never_leaves_through_an_address_for_sheets(front: Front) -> None:
    key = front.services.store.put(b"weights that are nobody's business")
    problem(front.client.get(f"/sheets/{key}.webp"), 404, "not-found")


def test_a_large_file_of_the_store_is_not_read_to_find_that_it_is_no_sheet(front: Front) -> None:
    key = front.services.store.put(b"RIFF....WEBP" + bytes(4_000_000))  # its first bytes say that it is one
    problem(front.client.get(f"/sheets/{key}.webp"), 404, "not-found")


def test_a_fault_is_logged_and_tells_nothing(front: Front, caplog: pytest.LogCaptureFixture) -> None:
    with front.services.sessions.begin() as session:
        session.connection().exec_driver_sql("ALTER TABLE atlases RENAME TO elsewhere")
    response = front.client.get("/api/v1/atlases")
    document = problem(response, 500, "internal-error")
    assert "atlases" not in json.dumps({**document, "instance": ""})
    assert "no such table" in caplog.text


def test_a_browser_gets_a_page(front: Front) -> None:
    response = front.client.get("/nothing", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert (response.status_code, response.mimetype) == (404, "text/html")
    assert "There is nothing at /nothing" in response.text
    problem(front.client.get("/api/v1/nothing", headers={"Accept": "text/html"}), 404, "not-found")
