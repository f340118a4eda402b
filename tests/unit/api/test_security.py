"""Where requests may come from: host names, origins, forms; and the headers of every answer."""

import pytest
from gunicorn.config import Config

from api.security import hosts
from cli.service import gunicorn_options
from core.errors import BadSetting
from core.listening import is_loopback
from core.settings import load_settings
from tests.unit.api.conftest import Front, MakeFront, bearer, form_value, problem

WISH = {"network": "tiny"}

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


@pytest.mark.parametrize(
    ("host", "here"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False),
     ("192.168.1.5", False), ("example.com", False), ("", False)],
)  # fmt: skip
def test_what_only_means_this_machine(host: str, here: bool) -> None:
    assert is_loopback(host) is here


@pytest.mark.parametrize(
    ("peer", "forwarded", "counted"),
    [
        ("192.168.1.9", None, "192.168.1.9"),
        ("192.168.1.9", "1.2.3.4", "192.168.1.9"),  # only a proxy on this machine is believed
        ("127.0.0.1", "6.6.6.6, 1.2.3.4", "1.2.3.4"),  # what is before the last is the client's own word
        ("2001:db8:1:2:3:4:5:6", None, "2001:db8:1:2::/64"),
        ("127.0.0.1", "nonsense", "nonsense"),
    ],
)
def test_the_address_that_guesses_are_counted_for(front: Front, peer: str, forwarded: str | None, counted: str) -> None:
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    with front.app.test_request_context("/", environ_overrides={"REMOTE_ADDR": peer}, headers=headers):
        assert hosts.client_network() == counted


@pytest.mark.parametrize(
    ("peer", "counted"), [("10.1.2.3", "1.2.3.4"), ("fd00::7", "1.2.3.4"), ("11.0.0.1", "11.0.0.1")]
)
def test_a_proxy_that_is_named_is_believed(make_front: MakeFront, peer: str, counted: str) -> None:
    front = make_front(trusted_proxies="10.0.0.0/8, fd00::/8")
    headers = {"X-Forwarded-For": "6.6.6.6, 1.2.3.4"}
    with front.app.test_request_context("/", environ_overrides={"REMOTE_ADDR": peer}, headers=headers):
        assert hosts.client_network() == counted


def test_gunicorn_believes_the_same_proxies() -> None:
    config = Config()
    config.set(
        "forwarded_allow_ips", gunicorn_options(load_settings(trusted_proxies="10.1.2.3/8"))["forwarded_allow_ips"]
    )
    assert [str(network) for network in config.forwarded_allow_networks()] == ["127.0.0.1/32", "::1/128", "10.0.0.0/8"]


def test_what_is_no_network_is_no_proxy() -> None:
    with pytest.raises(BadSetting, match="DEEPVIS_TRUSTED_PROXIES: 'ingress' does not appear to be"):
        load_settings(trusted_proxies="ingress")


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
    response = front.client.post("/api/v1/atlases", json=WISH, headers=headers)
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
    headers = {**bearer(closed.token()), "Origin": "http://evil.example"}
    assert closed.client.post("/api/v1/atlases", json=WISH, headers=headers).status_code == 202


# --- forms -----------------------------------------------------------------------------------------


def test_the_log_in_form_is_only_taken_from_the_browser_that_got_it(closed: Front) -> None:
    token = closed.token()
    value = form_value(closed.client.get("/login"))
    stranger = closed.app.test_client()
    for data in ({"token": token}, {"token": token, "form": ""}, {"token": token, "form": value}):
        problem(stranger.post("/login", data=data), 403, "forbidden")
    other = form_value(stranger.get("/login"))
    problem(stranger.post("/login", data={"token": token, "form": value}), 403, "forbidden")
    assert closed.counts()["logins"] == 0
    assert stranger.post("/login", data={"token": token, "form": other}).status_code == 303
    assert closed.client.post("/login", data={"token": token, "form": value}).status_code == 303


def test_nobody_is_logged_out_by_another_page(closed: Front) -> None:
    closed.log_in(closed.token())
    problem(closed.client.post("/logout"), 403, "forbidden")
    problem(closed.client.post("/logout", data={"form": form_value(closed.client.get("/login"))}), 403, "forbidden")
    assert closed.client.get("/api/v1/recipes").status_code == 200
    value = form_value(closed.client.get("/"), "/logout")
    assert closed.client.post("/logout", data={"form": value}).status_code == 303
    problem(closed.client.get("/api/v1/recipes"), 401, "unauthorized")


# --- headers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/", "/healthz", "/api/v1/networks", "/api/v1/docs", "/nothing", "/api/v1/openapi.json", "/login"]
)
def test_every_answer_carries_the_headers(front: Front, path: str) -> None:
    headers = front.client.get(path).headers
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    for kind in ("script-src", "style-src", "img-src", "connect-src", "form-action"):
        assert policy[kind] == "'self'"
    assert "camera=(self)" in headers["Permissions-Policy"]
    assert "microphone=()" in headers["Permissions-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cross-Origin-Opener-Policy"] == headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Cache-Control"]
    assert "Strict-Transport-Security" not in headers  # the test speaks HTTP


def test_over_https_browsers_are_told_to_stay_there(front: Front) -> None:
    answer = front.client.get("/healthz", base_url="https://localhost")
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
