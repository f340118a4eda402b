"""How often a token may ask, and how many wrong ones may come from one place."""

import re

from werkzeug.test import TestResponse

from core.specs import Scope
from db.tokens import Limits
from tests.unit.api.conftest import Front, MakeFront, Pictured, bearer, form_value, problem

RECIPES = "/api/v1/recipes"


def standing(headers: "dict[str, str]") -> tuple[str, ...]:
    """(policy, per window, window seconds, remaining, seconds to wait) of an answer's headers."""
    policy, amount, window = re.fullmatch(r'"(\w+)";q=(\d+);w=(\d+)', headers["RateLimit-Policy"]).groups()
    same, remaining, seconds = re.fullmatch(r'"(\w+)";r=(\d+);t=(\d+)', headers["RateLimit"]).groups()
    assert same == policy
    assert 1 <= int(seconds) <= 60
    return policy, amount, window, remaining


def test_a_token_may_ask_as_often_as_it_says(closed: Front) -> None:
    headers = bearer(closed.token("bob", Scope.READ, limits=Limits(requests_per_minute=2)))
    first = closed.client.get(RECIPES, headers=headers)
    assert standing(first.headers) == ("requests", "2", "60", "1")
    assert closed.client.get(RECIPES, headers=headers).status_code == 200
    refused = closed.client.get(RECIPES, headers=headers)
    document = problem(refused, 429, "too-many-requests")
    assert "'bob'" in document["detail"]
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert standing(refused.headers) == ("requests", "2", "60", "0")
    assert closed.client.get(RECIPES, headers=bearer(closed.token("carol"))).status_code == 200


def test_the_setting_holds_where_the_token_says_nothing(make_front: MakeFront) -> None:
    front = make_front(require_tokens=True, requests_per_minute=1)
    headers = bearer(front.token())
    assert front.client.get(RECIPES, headers=headers).status_code == 200
    problem(front.client.get(RECIPES, headers=headers), 429, "too-many-requests")


def test_a_login_counts_for_its_token(closed: Front) -> None:
    token = closed.token(limits=Limits(requests_per_minute=1))
    closed.log_in(token)
    assert closed.client.get(RECIPES).status_code == 200
    problem(closed.app.test_client().get(RECIPES, headers=bearer(token)), 429, "too-many-requests")
    assert closed.client.get("/", headers={"Accept": "text/html"}).status_code == 429  # a page


def test_pictures_do_not_use_up_what_pages_need(make_front: MakeFront, pictured: Pictured) -> None:
    front = make_front(require_tokens=True)  # over the store in which `pictured` put its files
    headers = bearer(front.token(limits=Limits(requests_per_minute=1)))
    sheet = f"/sheets/{front.services.store.put(pictured.sheet)}.webp"
    for number in range(10):
        answer = front.client.get(sheet, headers=headers)
        assert (answer.status_code, standing(answer.headers)) == (200, ("files", "10", "60", str(9 - number)))
    problem(front.client.get(sheet, headers=headers), 429, "too-many-requests")
    assert front.client.get(RECIPES, headers=headers).status_code == 200


def test_what_needs_no_token_is_not_counted(closed: Front) -> None:
    headers = bearer(closed.token(limits=Limits(requests_per_minute=1)))
    for _ in range(3):
        for path in ("/healthz", "/readyz", "/assets/base.css", "/login"):
            with closed.client.get(path, headers=headers) as answer:
                assert answer.status_code == 200
                assert "RateLimit" not in answer.headers


def test_this_machine_is_not_counted(make_front: MakeFront) -> None:
    front = make_front(requests_per_minute=1)
    for _ in range(3):
        answer = front.client.get(RECIPES)
        assert answer.status_code == 200
        assert "RateLimit" not in answer.headers


def test_guessing_is_slowed_down_for_each_address(closed: Front) -> None:
    good = bearer(closed.token())
    for number in range(10):
        problem(closed.client.get(RECIPES, headers=bearer(f"dv_{number}")), 401, "unauthorized")
    refused = closed.client.get(RECIPES, headers=bearer("dv_11"))
    problem(refused, 429, "too-many-requests")
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert closed.client.get(RECIPES, headers=good).status_code == 200  # whoever guesses beside them
    elsewhere = {"REMOTE_ADDR": "192.168.1.9"}
    wrong = closed.client.get(RECIPES, headers=bearer("dv_12"), environ_overrides=elsewhere)
    problem(wrong, 401, "unauthorized")


def test_guesses_in_the_form_count_too(closed: Front) -> None:
    for _ in range(10):
        assert closed.log_in("guess").status_code == 401
    assert closed.log_in("guess").status_code == 429
    assert closed.log_in(closed.token()).status_code == 303


def test_guesses_of_others_do_not_lock_out_who_is_at_work(closed: Front) -> None:
    good = bearer(closed.token())
    assert closed.client.get(RECIPES, headers=good).status_code == 200
    for number in range(11):
        closed.client.get(RECIPES, headers=bearer(f"dv_{number}"))
    assert closed.client.get(RECIPES, headers=good).status_code == 200


def test_behind_a_proxy_each_client_is_counted_by_itself(closed: Front) -> None:
    def guess(passed_on: str) -> TestResponse:
        return closed.client.get(RECIPES, headers={**bearer("dv_wrong"), "X-Forwarded-For": passed_on})

    for number in range(10):
        guess(f"9.9.9.{number}, 6.6.6.6")
    problem(guess("6.6.6.6"), 429, "too-many-requests")
    problem(guess("1.2.3.4"), 401, "unauthorized")


def test_a_wrong_form_is_no_guess(closed: Front) -> None:
    for _ in range(11):
        problem(closed.client.post("/login", data={"token": "x"}), 403, "forbidden")
    page = closed.client.get("/login")
    fields = {"token": closed.token(), "form": form_value(page)}
    assert closed.client.post("/login", data=fields).status_code == 303
