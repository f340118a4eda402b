"""Who is let in: tokens, logins, this machine; and what each token allows."""

import logging
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import update
from werkzeug.test import TestResponse

from api.security import callers, scopes
from api.security.callers import Known
from core.specs import Scope
from db import clock, tokens
from db.models import Login, Token
from db.queries.tokens import find_bearer, find_login, list_tokens
from tests.unit.api.conftest import Front, MakeFront, bearer, form_value, problem

PAGE = {"Accept": "text/html,*/*;q=0.8"}
WISH = {"network": "tiny"}
HOUR = 3600.0


def expired(front: Front) -> str:
    token = front.token("late", expires_seconds=HOUR)
    with front.services.sessions.begin() as session:
        session.execute(update(Token).values(expires_at=clock.after(clock.now(session), -1)))
    return token


def revoked(front: Front) -> str:
    token = front.token("gone")
    with front.services.sessions.begin() as session:
        tokens.revoke(session, "gone")
    return token


def cookie_of_revoked(front: Front) -> dict[str, str]:
    front.log_in(front.token("gone"))
    with front.services.sessions.begin() as session:
        tokens.revoke(session, "gone")
    return {}


def cookie_that_expired(front: Front) -> dict[str, str]:
    front.log_in(front.token())
    with front.services.sessions.begin() as session:
        session.execute(update(Login).values(expires_at=clock.after(clock.now(session), -1)))
    return {}


def session_cookie(response: TestResponse) -> str:
    (value,) = re.findall(r"deepvis_session=([^;]+)", response.headers["Set-Cookie"])
    return value


def token_in_use(front: Front) -> dict[str, str]:
    token = front.token()
    assert front.client.get("/api/v1/recipes", headers=bearer(token)).status_code == 200
    return {"Cookie": f"deepvis_session={token}"}


def cookie_in_use(front: Front) -> dict[str, str]:
    cookie = session_cookie(front.log_in(front.token()))
    assert front.client.get("/api/v1/recipes").status_code == 200
    return bearer(cookie)


HOSTILE: dict[str, Callable[[Front], dict[str, str]]] = {
    "nothing": lambda front: {},
    "an unknown token": lambda front: bearer("dv_" + "x" * 43),
    "part of a token": lambda front: bearer(front.token()[:-1]),
    "a longer token": lambda front: bearer(front.token() + "x"),
    "what the database keeps": lambda front: bearer(tokens.digest(front.token())),
    "an expired token": lambda front: bearer(expired(front)),
    "a revoked token": lambda front: bearer(revoked(front)),
    "an empty token": lambda front: {"Authorization": "Bearer "},
    "no token": lambda front: {"Authorization": "Bearer"},
    "no scheme": lambda front: {"Authorization": front.token()},
    "another scheme": lambda front: {"Authorization": f"Basic {front.token()}"},
    "letters beyond ASCII": lambda front: bearer("café"),
    "a cookie of a revoked token": cookie_of_revoked,
    "a cookie that expired": cookie_that_expired,
    "a made-up cookie": lambda front: {"Cookie": "deepvis_session=guess"},
    "a token as a cookie": token_in_use,
    "a cookie as a token": cookie_in_use,
    "a token in the query": lambda front: {},
}


@pytest.mark.parametrize("hostile", HOSTILE)
def test_nobody_gets_in_with(closed: Front, hostile: str) -> None:
    headers = HOSTILE[hostile](closed)
    query = f"?token={closed.token('q')}&access_token={closed.token('r')}" if "query" in hostile else ""
    if "as a token" in hostile:
        closed.client.delete_cookie("deepvis_session")
    before = closed.counts()
    read = closed.client.get(f"/api/v1/recipes{query}", headers=headers)
    document = problem(read, 401, "unauthorized")
    assert "Authorization: Bearer TOKEN" in document["remedy"]
    assert read.headers["WWW-Authenticate"].startswith("Bearer")
    assert ("invalid_token" in read.headers["WWW-Authenticate"]) is ("Authorization" in headers)
    problem(closed.client.post("/api/v1/atlases", json=WISH, headers=headers), 401, "unauthorized")
    assert closed.counts() == before


def test_what_is_wrong_with_a_token_is_not_told(closed: Front) -> None:
    answers = [
        closed.client.get("/api/v1/recipes", headers=bearer(token)).json
        for token in (expired(closed), revoked(closed), "dv_unknown")
    ]
    assert answers[0] == answers[1] == answers[2]


@pytest.mark.parametrize("hostile", ["an unknown token", "a revoked token", "another scheme", "an empty token"])
def test_a_token_that_is_sent_must_be_right_where_none_is_needed(front: Front, hostile: str) -> None:
    problem(front.client.get("/api/v1/recipes", headers=HOSTILE[hostile](front)), 401, "unauthorized")


def test_a_token_is_honoured_where_none_is_needed(front: Front) -> None:
    headers = bearer(front.token("bob", Scope.READ))
    problem(front.client.post("/api/v1/atlases", json=WISH, headers=headers), 403, "insufficient-scope")
    headers = bearer(front.token("carol", Scope.SUBMIT))
    assert front.client.post("/api/v1/atlases", json=WISH, headers=headers).json["owner"] == "carol"
    assert front.client.post("/api/v1/atlases", json=WISH).json["owner"] == "local"


def test_a_cookie_of_another_server_does_not_lock_this_machine_out(front: Front) -> None:
    assert front.client.get("/api/v1/recipes", headers={"Cookie": "deepvis_session=other"}).status_code == 200


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_good_token_is_accepted(closed: Front, scheme: str) -> None:
    response = closed.client.get("/api/v1/recipes", headers={"Authorization": f"{scheme} {closed.token()}"})
    assert response.status_code == 200


# --- this machine and others ----------------------------------------------------------


def test_other_machines_need_a_token(front: Front) -> None:
    elsewhere: Any = {"environ_overrides": {"REMOTE_ADDR": "192.168.1.9"}}
    problem(front.client.get("/api/v1/recipes", **elsewhere), 401, "unauthorized")
    assert front.client.get("/api/v1/recipes", headers=bearer(front.token()), **elsewhere).status_code == 200
    socket: Any = {"environ_overrides": {"REMOTE_ADDR": ""}}  # of a proxy, as far as anybody can tell
    problem(front.client.get("/api/v1/recipes", **socket), 401, "unauthorized")
    problem(front.client.post("/api/v1/atlases", json=WISH, **socket), 401, "unauthorized")
    assert front.client.get("/api/v1/recipes", headers=bearer(front.token("bob")), **socket).status_code == 200


def test_a_server_with_a_public_name_needs_tokens(make_front: MakeFront) -> None:
    front = make_front(trusted_hosts="vis.example")
    problem(front.client.get("/api/v1/recipes", headers={"Host": "vis.example"}), 401, "unauthorized")
    problem(front.client.get("/api/v1/recipes"), 401, "unauthorized")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5"])
def test_listening_beyond_this_machine_needs_tokens(make_front: MakeFront, host: str) -> None:
    front = make_front(host=host)
    problem(front.client.get("/api/v1/recipes"), 401, "unauthorized")
    assert front.client.get("/api/v1/recipes", headers=bearer(front.token())).status_code == 200


@pytest.mark.parametrize(
    "header",
    [{"X-Forwarded-For": "1.2.3.4"}, {"X-Forwarded-For": "127.0.0.1"}, {"Forwarded": "for=1.2.3.4"},
     {"X-Forwarded-Proto": "https"}, {"X-Forwarded-Host": "localhost"}, {"X-Real-IP": "1.2.3.4"}, {"Via": "1.1 proxy"}],
    ids=str,
)  # fmt: skip
def test_what_a_proxy_passes_on_is_not_from_this_machine(front: Front, header: dict[str, str]) -> None:
    before = front.counts()
    for response in (
        front.client.get("/api/v1/recipes", headers=header),
        front.client.post("/api/v1/atlases", json=WISH, headers=header),
    ):
        assert "DEEPVIS_REQUIRE_TOKENS" in problem(response, 403, "forbidden")["remedy"]
    assert front.counts() == before
    assert front.client.get("/api/v1/recipes", headers={**header, **bearer(front.token())}).status_code == 200
    assert front.client.get("/healthz", headers=header).status_code == 200


def test_without_tokens_one_line_says_how_to_make_the_first(
    make_front: MakeFront, caplog: pytest.LogCaptureFixture
) -> None:
    def said(**settings: object) -> list[str]:
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            make_front(**settings)
        return [message for message in caplog.messages if "token" in message]

    assert said() == []
    (line,) = said(host="0.0.0.0")
    assert "`deepvis tokens make NAME" in line
    assert "\n" not in line
    assert said(require_tokens=True) == [line]


# --- everything needs what the document says -----------------------------------------------


VALUES: dict[str, Any] = {
    "name": "tiny", "layer": "conv", "unit": 0, "recipe": "soft", "picture_id": 1, "session_id": 32 * "0",
}  # fmt: skip
RANKS = [None, *Scope]


def operations(front: Front) -> list[tuple[str, str, Scope | None]]:
    """(method, path, scope) of every operation, as the OpenAPI document has them."""
    document = front.client.get("/api/v1/openapi.json", headers=bearer(front.token("reader"))).json
    found = []
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            named = {scope for way in operation["security"] for scopes_ in way.values() for scope in scopes_}
            assert len(named) <= 1, (method, path)
            found.append((method.upper(), path, Scope(named.pop()) if named else None))
    return found


def ask(front: Front, method: str, path: str, token: str | None) -> TestResponse:
    ids = dict.fromkeys(("atlas_id", "set_id", "search_id", "job_id"), "01JATLAS000000000000000000")
    values = {**VALUES, **ids, "number": 0, "key": "f" * 64, "file": "whole.png"}
    body: Any = {"json": {}} if method == "POST" else {}
    headers = bearer(token) if token else {}
    return front.client.open(path.format(**values), method=method, headers=headers, buffered=True, **body)


def test_every_operation_needs_the_scope_that_the_document_names(closed: Front) -> None:
    named = operations(closed)
    assert {(method, scope) for method, _, scope in named} >= {("GET", Scope.READ), ("POST", Scope.SUBMIT)}
    held = {scope: closed.token(f"with-{scope}", scope) for scope in Scope} | {None: None}
    for method, path, needed in named:
        assert needed is not None or path in {"/healthz", "/readyz"}, path
        assert method == "GET" or needed != Scope.READ, path
        for scope, token in held.items():
            response = ask(closed, method, path, token)
            if RANKS.index(scope) >= RANKS.index(needed):
                assert response.status_code not in {401, 403}, (method, path, scope)
            elif scope is None:
                problem(response, 401, "unauthorized")
            else:
                document = problem(response, 403, "insufficient-scope")
                assert str(needed) in document["remedy"]
                assert f'scope="{needed}"' in response.headers["WWW-Authenticate"]


def test_every_page_needs_reading(closed: Front) -> None:
    open_paths = {"/healthz", "/readyz", "/login", "/assets/1", "/api/v1/docs/static/1"}
    for rule in closed.app.url_map.iter_rules():
        if "GET" not in (rule.methods or ()):
            continue
        values = {name: 1 if c.regex == r"\d+" else "1" for name, c in rule._converters.items()}
        with closed.app.test_request_context():
            path = rule.build(values)[1]  # type: ignore[index]
        if path not in open_paths:
            problem(closed.client.get(path), 401, "unauthorized")


def test_a_change_that_the_table_forgot_needs_admin() -> None:
    assert scopes.needed("atlases.forgotten", "POST") == scopes.needed("pages.new", "DELETE") == Scope.ADMIN
    assert scopes.needed("atlases.forgotten", "HEAD") == Scope.READ


def test_every_entry_of_the_table_exists(front: Front) -> None:
    endpoints = {rule.endpoint for rule in front.app.url_map.iter_rules()}
    assert endpoints >= scopes.OPEN | set(scopes.CHANGES)


def test_only_an_admin_changes_what_is_somebody_elses(closed: Front) -> None:
    alice, bob = closed.token("alice", Scope.SUBMIT), closed.token("bob", Scope.SUBMIT)
    links = closed.client.post("/api/v1/atlases", json=WISH, headers=bearer(alice)).json["links"]
    changes: list[tuple[str, dict[str, Any]]] = [("weight", {"json": {"weight": 2}}), ("cancel", {}), ("retry", {})]
    for name, body in changes:
        document = problem(closed.client.post(links[name], headers=bearer(bob), **body), 403, "insufficient-scope")
        assert "'alice'" in document["detail"]
        assert "admin" in document["remedy"]
    assert closed.client.get(links["self"], headers=bearer(bob)).json["state"] == "queued"
    for token in (alice, closed.token("root", Scope.ADMIN)):
        for name, body in changes:
            assert closed.client.post(links[name], headers=bearer(token), **body).status_code in {200, 202}, name


def test_keys_of_two_owners_do_not_meet(closed: Front) -> None:
    made = [
        closed.client.post("/api/v1/atlases", json=WISH, headers={**bearer(closed.token(name)), "Idempotency-Key": "k"})
        for name in ("alice", "bob")
    ]
    assert made[0].json["id"] != made[1].json["id"]
    assert [response.json["owner"] for response in made] == ["alice", "bob"]


def test_reading_alone_sets_no_worker_to_work(closed: Front) -> None:
    address = "/api/v1/networks/unseen/layers"
    problem(closed.client.get(address, headers=bearer(closed.token("r", Scope.READ))), 503, "not-described")
    assert closed.messages() == []
    problem(closed.client.get(address, headers=bearer(closed.token("s", Scope.SUBMIT))), 503, "not-described")
    assert closed.messages() == [("deepvis.describe", ["unseen"])]


# --- browsers -----------------------------------------------------------------------------------


def test_a_browser_logs_in_and_out(closed: Front) -> None:
    token = closed.token()
    asked = closed.client.get("/networks/tiny?sort=unit", headers=PAGE)
    assert (asked.status_code, asked.headers["Location"]) == (303, "/login?next=/networks/tiny%3Fsort%3Dunit")
    form = closed.client.get(asked.headers["Location"], headers=PAGE)
    assert 'value="/networks/tiny?sort=unit"' in form.text
    fields = {"token": token, "next": "/networks/tiny?sort=unit", "form": form_value(form)}
    answered = closed.client.post("/login", data=fields)
    assert (answered.status_code, answered.headers["Location"]) == (303, "/networks/tiny?sort=unit")
    cookie = answered.headers["Set-Cookie"]
    assert token not in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert "Max-Age=2592000" in cookie
    assert "Secure" not in cookie  # the test speaks HTTP
    with closed.services.sessions() as session:
        assert [login.hash for login in session.query(Login)] == [tokens.digest(session_cookie(answered))]
    page = closed.client.get("/networks/tiny", headers=PAGE)
    left = closed.client.post("/logout", data={"form": form_value(page, "/logout")})
    assert left.status_code == 303
    assert closed.counts()["logins"] == 0
    closed.client.set_cookie("deepvis_session", session_cookie(answered))  # one that somebody kept
    problem(closed.client.get("/api/v1/recipes"), 401, "unauthorized")


def test_pages_offer_what_the_token_allows(closed: Front) -> None:
    atlas = closed.client.post("/api/v1/atlases", json=WISH, headers=bearer(closed.token("alice"))).json
    page, form, button = f"/atlases/{atlas['id']}", 'data-address="/api/v1/atlases"', "/cancel"
    offered = {}
    for name, scope in {"reader": Scope.READ, "bob": Scope.SUBMIT, "root": Scope.ADMIN}.items():
        headers = bearer(closed.token(name, scope))
        offered[name] = (
            form in closed.client.get("/", headers=headers).text,
            button in closed.client.get(page, headers=headers).text,
        )
    assert offered == {"reader": (False, False), "bob": (True, False), "root": (True, True)}
    assert "alice" in closed.client.get(page, headers=headers).text


def test_a_login_ends_with_its_token(closed: Front) -> None:
    answered = closed.log_in(closed.token(expires_seconds=HOUR))
    (seconds,) = re.findall(r"Max-Age=(\d+)", answered.headers["Set-Cookie"])
    assert HOUR - 60 < int(seconds) <= HOUR


def test_a_login_has_the_scope_and_name_of_its_token(closed: Front) -> None:
    closed.log_in(closed.token("bob", Scope.READ))
    assert closed.client.get("/").status_code == 200
    problem(closed.client.post("/api/v1/atlases", json=WISH), 403, "insufficient-scope")
    closed.log_in(closed.token("carol", Scope.SUBMIT))
    assert closed.client.post("/api/v1/atlases", json=WISH).json["owner"] == "carol"


def test_a_cookie_over_https_stays_there(closed: Front) -> None:
    answered = closed.log_in(closed.token(), base_url="https://localhost")
    assert answered.headers["Set-Cookie"].startswith("__Host-deepvis_session=")
    assert "Secure" in answered.headers["Set-Cookie"]
    assert "Path=/" in answered.headers["Set-Cookie"]
    assert closed.client.get("/api/v1/recipes", base_url="https://localhost").status_code == 200
    problem(closed.client.get("/api/v1/recipes"), 401, "unauthorized")


def test_a_wrong_token_sets_no_cookie(closed: Front) -> None:
    for token in ("guess", "", expired(closed), revoked(closed)):
        response = closed.log_in(token)
        assert response.status_code == 401
        assert "Set-Cookie" not in response.headers
    assert closed.counts()["logins"] == 0


@pytest.mark.parametrize(
    "target", ["//evil.example", "https://evil.example", "/\\evil.example", "/\t/evil.example", ""]
)
def test_logging_in_leads_nowhere_else(closed: Front, target: str) -> None:
    fields = {"token": closed.token(), "next": target, "form": form_value(closed.client.get("/login"))}
    assert closed.client.post("/login", data=fields).headers["Location"] == "/"


# --- what is remembered -------------------------------------------------------------------------


def test_callers_are_believed_for_seconds_only() -> None:
    now = [100.0]
    known = Known(3.0, lambda: now[0])
    known.put(find_bearer, "secret", callers.LOCAL)
    assert known.get(find_bearer, "secret") == callers.LOCAL
    assert known.get(find_bearer, "other") is None
    assert known.get(find_login, "secret") is None
    now[0] += 2.9
    assert known.get(find_bearer, "secret") is not None
    now[0] += 0.2
    assert known.get(find_bearer, "secret") is None
    known.put(find_bearer, "secret", callers.LOCAL)
    known.forget(find_bearer, "secret")
    assert known.get(find_bearer, "secret") is None


def test_a_token_in_use_ends_when_it_is_no_longer_believed(closed: Front) -> None:
    now = [0.0]
    closed.app.extensions[callers.KNOWN_KEY] = Known(callers.KNOWN_SECONDS, lambda: now[0])
    headers = bearer(closed.token("bob"))
    browser = closed.app.test_client()
    page = browser.get("/login")
    browser.post("/login", data={"token": headers["Authorization"][7:], "form": form_value(page)})
    for client, sent in ((closed.client, headers), (browser, {})):
        assert client.get("/api/v1/recipes", headers=sent).status_code == 200
    with closed.services.sessions.begin() as session:
        tokens.revoke(session, "bob")
    now[0] += callers.KNOWN_SECONDS
    for client, sent in ((closed.client, headers), (browser, {})):
        problem(client.get("/api/v1/recipes", headers=sent), 401, "unauthorized")


def test_the_last_use_is_noted_after_the_answer_once_a_minute(closed: Front) -> None:
    def last_used() -> object:
        with closed.services.sessions() as session:
            return list_tokens(session)[0].last_used_at

    headers = bearer(closed.token("bob", Scope.READ))
    assert last_used() is None
    response = closed.client.get("/api/v1/recipes", headers=headers)
    assert last_used() is None  # nobody waited for a write
    response.close()
    noted = last_used()
    assert noted is not None
    closed.app.extensions[callers.KNOWN_KEY] = Known()
    closed.client.get("/api/v1/recipes", headers=headers).close()
    assert last_used() == noted


def test_what_is_remembered_of_a_token_gives_no_login(closed: Front) -> None:
    old = closed.token("alice", Scope.READ)
    assert closed.client.get("/api/v1/recipes", headers=bearer(old)).status_code == 200  # and is believed for seconds
    with closed.services.sessions.begin() as session:
        tokens.revoke(session, "alice")
    assert closed.log_in(old).status_code == 401
    new = closed.token("alice", Scope.ADMIN)
    assert closed.log_in(old).status_code == 401
    assert closed.counts()["logins"] == 0
    assert closed.log_in(new).status_code == 303


@pytest.mark.parametrize("cookie", ["", "x", "a" * 42, "a" * 44, "ä" * 43, "a b" + "c" * 40, "٣" * 43])
def test_cookies_of_another_shape_are_not_looked_up(
    closed: Front, cookie: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closed.app.test_request_context("/", headers={"Cookie": f"deepvis_session={quote(cookie)}"}):
        monkeypatch.setattr(callers, "_look_up", lambda *_: pytest.fail("the database was asked"))
        assert callers._by_login(cookie) is None


# --- the trail ----------------------------------------------------------------------------------


def test_who_changes_what_is_noted(closed: Front, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)  # the trail has no gaps at any level
    caplog.handler.setLevel(logging.NOTSET)
    made = closed.client.post("/api/v1/atlases", json=WISH, headers=bearer(closed.token("alice")))
    address = f"/api/v1/atlases/{made.json['id']}"
    closed.client.post(f"{address}/cancel", headers=bearer(closed.token("bob", Scope.SUBMIT)))
    closed.client.get(address, headers=bearer(closed.token("carol")))  # looking is no change
    closed.client.get(address, headers=bearer("dv_wrong"))
    closed.log_in(closed.token("dave"))
    found = [r for r in caplog.records if r.name == "deepvis.audit"]
    assert [(r.owner, r.action, r.status) for r in found] == [
        ("alice", f"asks for atlases.create_atlas {made.json['id']}", 202),
        ("bob", f"asks for atlases.cancel_atlas {made.json['id']}", 403),
        ("somebody", "is refused: a wrong token", None),
        ("dave", "logs in", None),
    ]
    assert {r.client for r in found} == {"127.0.0.1"}


def test_refusals_in_the_trail_end_with_the_guesses(closed: Front, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(30):
        closed.client.get("/api/v1/recipes", headers=bearer(f"dv_{number}"))
    assert len([r for r in caplog.records if r.name == "deepvis.audit"]) == 10
