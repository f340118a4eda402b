"""`deepvis tokens`: made, listed and revoked without a running service."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from core.settings import load_settings
from core.specs import Scope
from db.migrate import upgrade
from db.queries.tokens import find_bearer
from db.session import make_engine, make_sessions


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation of the test's own, with tables."""
    monkeypatch.setenv("DEEPVIS_HOME", str(tmp_path / "home"))
    upgrade(load_settings().resolved_database_url)
    return tmp_path / "home"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["tokens", *arguments], prog_name="deepvis")


def scope_of(token: str) -> Scope | None:
    engine = make_engine(load_settings().resolved_database_url)
    with make_sessions(engine)() as session:
        grant = find_bearer(session, token)
    engine.dispose()
    return grant.scope if grant else None


def test_only_the_token_is_on_standard_output() -> None:
    result = run("make", "alice", "--scope", "submit", "--expires", "90d")
    assert result.exit_code == 0
    (token,) = result.stdout.splitlines()
    assert token.startswith("dv_")
    assert "'alice'" in result.stderr
    assert token not in result.stderr
    assert scope_of(token) == Scope.SUBMIT


def test_tokens_are_listed_for_people_and_programs() -> None:
    assert run("list").output == "No tokens yet: deepvis tokens make NAME\n"
    limits = ("--requests-per-minute", "30", "--max-open-atlases", "2", "--max-images-per-day", "1000")
    token = run("make", "alice", "--scope", "admin", "--expires", "never", *limits).stdout.strip()
    run("make", "bob", "--expires", "12h")
    table = run("list").output
    assert next(line.split()[:4] for line in table.splitlines()[2:]) == ["alice", "admin", "usable", "never"]
    listed = {each["name"]: each for each in json.loads(run("list", "--json").stdout)}
    alice, bob = listed["alice"], listed["bob"]
    assert (alice["requests_per_minute"], alice["max_open_atlases"], alice["max_images_per_day"]) == (30, 2, 1000)
    assert (bob["scope"], bob["max_open_atlases"]) == ("submit", None)
    assert alice["expires_at"] is None
    assert bob["expires_at"] > bob["created_at"]
    assert token not in table + json.dumps(listed)


def test_a_token_is_revoked_and_its_name_given_again() -> None:
    first = run("make", "alice").stdout.strip()
    taken = run("make", "alice")
    assert taken.exit_code == 2
    assert taken.stdout == ""
    assert "deepvis tokens revoke alice" in taken.stderr
    assert run("revoke", "alice").stdout == "The token 'alice' is revoked.\n"
    assert scope_of(first) is None
    assert json.loads(run("list", "--json").stdout)[0]["state"] == "revoked"
    assert scope_of(run("make", "alice", "--scope", "read").stdout.strip()) == Scope.READ


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("revoke", "nobody"), "There is no token 'nobody'"),
        (("make", "local"), "Use another name"),
        (("make", "a b"), "cannot be named"),
        (("make", "a", "--scope", "root"), "--scope"),
        (("make", "a", "--expires", "soon"), "--expires"),
        (("make", "a", "--max-open-atlases", "0"), "--max-open-atlases"),
    ],
)
def test_what_cannot_be_is_said(arguments: tuple[str, ...], says: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert says in result.stderr
    assert result.stdout == ""
    assert json.loads(run("list", "--json").stdout) == []


def test_a_database_without_tables_says_how_to_make_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DEEPVIS_HOME", str(tmp_path / "other"))
    result = run("make", "alice")
    assert result.exit_code == 2
    assert "deepvis db upgrade" in result.stderr


def test_what_is_done_with_tokens_is_noted() -> None:
    made = run("make", "alice", "--scope", "admin")
    lines = [json.loads(line) for line in (made.stderr + run("revoke", "alice").stderr).splitlines() if line[:1] == "{"]
    assert [line["action"] for line in lines] == [
        "makes the token 'alice' with the scope admin",
        "revokes the token 'alice'",
    ]
    assert {line["logger"] for line in lines} == {"deepvis.audit"}
    assert all(line["owner"] and "command line" in line["client"] for line in lines)
    assert made.stdout.strip() not in made.stderr
