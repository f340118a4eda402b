"""Who may ask: listening, host names, tokens, cookies, same-origin changes, headers."""

import time

import pytest

from api import security
from core.errors import BadSetting
from core.settings import load_settings
from tests.unit.api.conftest import Front, MakeFront, problem

TOKEN = "a-long-random-token-1"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
PAGE = {"Accept": "text/html,*/*;q=0.8"}


@pytest.fixture
def closed(make_front: MakeFront) -> Front:
    """A front that asks for tokens."""
    return make_front(tokens=f"another-token-0,{TOKEN}")


# --- listening ---------------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.com", ""])
def test_listening_beyond_this_machine_needs_tokens(host: str) -> None:
    with pytest.raises(BadSetting, match="DEEPVIS_TOKENS"):
        security.check_listen(load_settings(host=host))
    security.check_listen(load_settings(host=host, tokens=TOKEN))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_listening_on_this_machine_needs_none(host: str) -> None:
    security.check_listen(load_settings(host=host))


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_tokens_that_can_be_guessed_are_refused(host: str) -> None:
    with pytest.raises(BadSetting, match="shorter than 16"):
        security.check_listen(load_settings(host=host, tokens=f"{TOKEN},secret"))


def test_without_tokens_other_machines_are_refused(front: Front, closed: Front) -> None:
    elsewhere = {"REMOTE_ADDR": "192.168.1.9"}
    problem(front.client.get("/api/v1/recipes", environ_overrides=elsewhere), 403, "forbidden")
    assert front.client.get("/api/v1/recipes", environ_overrides={"REMOTE_ADDR": ""}).status_code == 200
    assert closed.client.get("/api/v1/recipes", environ_overrides=elsewhere, headers=BEARER).status_code == 200


# --- host names ----------------------------------------------------------------------


@pytest.mark.parametrize("host", ["localhost", "localhost:8357", "127.0.0.1:1", "[::1]:8357", "LOCALHOST", "10.0.0.7"])
def test_own_names_and_addresses_are_answered(front: Front, host: str) -> None:
    assert front.client.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8357", "localhost.evil.example", "127.0.0.1.evil", "a b", "x@localhost"]
)
def test_other_names_are_not(front: Front, host: str) -> None:
    document = problem(front.client.get("/api/v1/recipes", headers={"Host": host}), 400, "bad-request")
    assert "DEEPVIS_TRUSTED_HOSTS" in document["remedy"]


def test_trusted_hosts_are_added(make_front: MakeFront) -> None:
    front = make_front(trusted_hosts="vis.example, .lab.example")
    for host, status in {"vis.example": 200, "a.lab.example:80": 200, "lab.example": 400, "xvis.example": 400}.items():
        assert front.client.get("/healthz", headers={"Host": host}).status_code == status, host


# --- tokens ------------------------------------------------------------------------------


def test_everything_but_liveness_needs_a_token(closed: Front) -> None:
    reachable = {"healthz", "readyz", "form", "static"}
    for rule in closed.app.url_map.iter_rules():
        if rule.endpoint.rpartition(".")[2] in reachable or "GET" not in (rule.methods or ()):
            continue
        values = dict.fromkeys(rule.arguments, "1")
        with closed.app.test_request_context():
            path = rule.build(values | {k: 1 for k, c in rule._converters.items() if c.regex == r"\d+"})[1]  # type: ignore[index]
        response = closed.client.get(path)
        problem(response, 401, "unauthorized")
        assert response.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "sent", ["Bearer wrong", "Bearer ", "Bearer", "Basic YTpi", TOKEN, "Bearer café", f"bearer  {TOKEN}x"]
)
def test_wrong_tokens_are_refused(closed: Front, sent: str) -> None:
    problem(closed.client.get("/api/v1/recipes", headers={"Authorization": sent}), 401, "unauthorized")


def test_each_token_is_accepted(closed: Front) -> None:
    for token in (TOKEN, "another-token-0"):
        response = closed.client.get("/api/v1/recipes", headers={"Authorization": f"Bearer {token}"})
        assert response.status_code == 200
    assert closed.client.get("/healthz").status_code == 200


def test_a_change_without_a_token_stores_nothing(closed: Front) -> None:
    before = closed.counts()
    problem(closed.client.post("/api/v1/atlases", json={"network": "tiny"}), 401, "unauthorized")
    assert closed.counts() == before


def test_a_browser_logs_in_and_out(closed: Front) -> None:
    asked = closed.client.get("/networks/tiny?sort=unit", headers=PAGE)
    assert (asked.status_code, asked.headers["Location"]) == (303, "/login?next=/networks/tiny%3Fsort%3Dunit")
    form = closed.client.get(asked.headers["Location"], headers=PAGE)
    assert 'value="/networks/tiny?sort=unit"' in form.text
    answered = closed.client.post("/login", data={"token": TOKEN, "next": "/networks/tiny?sort=unit"})
    assert (answered.status_code, answered.headers["Location"]) == (303, "/networks/tiny?sort=unit")
    cookie = answered.headers["Set-Cookie"]
    assert TOKEN not in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert "Secure" not in cookie  # the test speaks HTTP
    assert closed.client.get("/api/v1/recipes").status_code == 200
    assert closed.client.post("/logout").status_code == 303
    problem(closed.client.get("/api/v1/recipes"), 401, "unauthorized")


def test_a_cookie_over_https_stays_there(closed: Front) -> None:
    answered = closed.client.post("/login", data={"token": TOKEN}, base_url="https://localhost")
    assert "Secure" in answered.headers["Set-Cookie"]


def test_a_wrong_token_sets_no_cookie(closed: Front) -> None:
    response = closed.client.post("/login", data={"token": "guess"})
    assert response.status_code == 401
    assert "Set-Cookie" not in response.headers


@pytest.mark.parametrize(
    "target", ["//evil.example", "https://evil.example", "/\\evil.example", "/\t/evil.example", ""]
)
def test_logging_in_leads_nowhere_else(closed: Front, target: str) -> None:
    response = closed.client.post("/login", data={"token": TOKEN, "next": target})
    assert response.headers["Location"] == "/"


def test_cookies_expire_and_cannot_be_made_without_the_token() -> None:
    now, tokens = time.time(), frozenset({TOKEN})
    cookie = security.make_cookie(TOKEN, now)
    expires, _, signature = cookie.partition(".")
    assert security.cookie_is_valid(cookie, tokens, now)
    assert not security.cookie_is_valid(cookie, tokens, now + security.COOKIE_SECONDS + 1)
    assert not security.cookie_is_valid(cookie, frozenset({"other"}), now)
    assert not security.cookie_is_valid(f"{int(expires) + 1}.{signature}", tokens, now)
    for forged in (
        "",
        ".",
        f"{expires}.",
        f"{expires}.é",
        f"-1.{signature}",
        f"{'9' * 5000}.{signature}",
        f"٣.{signature}",
    ):
        assert not security.cookie_is_valid(forged, tokens, now)


# --- changes from other sites ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 202),
        ({"Origin": "http://localhost"}, 202),
        ({"Sec-Fetch-Site": "same-origin"}, 202),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://proxy.example"}, 202),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://localhost:9"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://[x"}, 403),
        ({"Origin": "localhost"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Origin": "http://localhost"}, 403),
    ],
)
def test_changes_come_from_our_own_pages(front: Front, headers: dict[str, str], status: int) -> None:
    before = front.counts()
    response = front.client.post("/api/v1/atlases", json={"network": "tiny"}, headers=headers)
    assert response.status_code == status
    if status == 403:
        problem(response, 403, "forbidden")
        assert front.counts() == before
        assert front.client.get("/api/v1/recipes", headers=headers).status_code == 200


def test_reading_from_another_site_sets_no_worker_to_work(front: Front) -> None:
    address = "/api/v1/networks/unseen/layers"
    problem(front.client.get(address, headers={"Sec-Fetch-Site": "cross-site"}), 503, "not-described")
    assert front.messages() == []
    problem(front.client.get(address, headers={"Sec-Fetch-Site": "same-origin"}), 503, "not-described")
    assert front.messages() == [("deepvis.describe", ["unseen"])]


def test_a_token_speaks_for_itself(closed: Front) -> None:
    headers = {**BEARER, "Origin": "http://evil.example"}
    assert closed.client.post("/api/v1/atlases", json={"network": "tiny"}, headers=headers).status_code == 202


# --- headers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/", "/healthz", "/api/v1/networks", "/api/v1/docs", "/nothing", "/api/v1/openapi.json"]
)
def test_every_answer_carries_the_headers(front: Front, path: str) -> None:
    headers = front.client.get(path).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"]
