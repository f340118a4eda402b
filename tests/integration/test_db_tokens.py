"""Tokens and logins, on SQLite and PostgreSQL."""

import pytest
from sqlalchemy import select, update

from core.errors import Conflict, InvalidRequest, NotFound
from core.specs import Scope
from db import clock, tokens
from db.models import Login, Token
from db.queries import tokens as queries
from db.queries.tokens import Grant, TokenState, TokenView
from db.session import Sessions
from tests.integration.racing import race

pytestmark = pytest.mark.integration


def make(sessions: Sessions, name: str = "alice", scope: Scope = Scope.SUBMIT, **options: object) -> str:
    with sessions.begin() as session:
        return tokens.make(session, name, scope, **options)  # type: ignore[arg-type]  # mixed values


def granted(sessions: Sessions, secret: str) -> Grant | None:
    with sessions() as session:
        return queries.find_bearer(session, secret)


def logged_in(sessions: Sessions, cookie: str) -> Grant | None:
    with sessions() as session:
        return queries.find_login(session, cookie)


def listed(sessions: Sessions) -> dict[str, TokenView]:
    with sessions() as session:
        return {token.name: token for token in queries.list_tokens(session)}


def log_in(sessions: Sessions, secret: str) -> tuple[str, int]:
    with sessions.begin() as session:
        made = tokens.log_in(session, secret)
    return made.cookie, made.seconds


def later(sessions: Sessions, seconds: float) -> None:
    """Let every end come nearer."""
    for table in (Token, Login):
        with sessions.begin() as session:
            for row in session.scalars(select(table)):
                row.expires_at = row.expires_at and clock.after(row.expires_at, -seconds)


def test_a_token_is_random_recognisable_and_kept_as_its_hash_only(sessions: Sessions) -> None:
    first, second = make(sessions, "alice"), make(sessions, "bob")
    assert first.startswith("dv_")
    assert len(first) == len(second) == 46
    assert first != second
    with sessions() as session:
        rows = session.execute(select(Token.__table__)).all()
    assert first not in str(rows)
    assert first[3:] not in str(rows)


def test_a_token_grants_its_scope_to_its_name(sessions: Sessions) -> None:
    secret = make(sessions, "alice@lab.example", Scope.READ, limits=tokens.Limits(requests_per_minute=7))
    grant = granted(sessions, secret)
    assert grant is not None
    assert (grant.name, grant.scope, grant.requests_per_minute) == ("alice@lab.example", Scope.READ, 7)
    for wrong in ("", "dv_", secret[:-1], f"{secret} ", secret.upper(), tokens.digest(secret), "\ud800", "\0"):
        assert granted(sessions, wrong) is None


def test_scopes_include_those_before(sessions: Sessions) -> None:
    held = [[wide.includes(needed) for needed in Scope] for wide in Scope]
    assert held == [[True, False, False], [True, True, False], [True, True, True]]


@pytest.mark.parametrize("name", ["", "local", "a b", "ä", "-a", ".a", "a" * 65, "a\0", "a/b", "a\n"])
def test_names_that_cannot_be_used(sessions: Sessions, name: str) -> None:
    with pytest.raises(InvalidRequest):
        make(sessions, name)
    assert listed(sessions) == {}


def test_a_name_is_given_again_only_when_its_token_has_ended(sessions: Sessions) -> None:
    first = make(sessions, limits=tokens.Limits(max_open_atlases=1))
    with pytest.raises(Conflict, match="revoke alice"):
        make(sessions)
    assert granted(sessions, first) is not None
    cookie, _ = log_in(sessions, first)
    with sessions.begin() as session:
        tokens.revoke(session, "alice")
    second = make(sessions, scope=Scope.READ, expires_seconds=60)
    assert (granted(sessions, first), logged_in(sessions, cookie)) == (None, None)
    assert granted(sessions, second) is not None
    assert listed(sessions)["alice"].max_open_atlases is None
    cookie, _ = log_in(sessions, second)
    later(sessions, 61)
    third = make(sessions)
    assert [granted(sessions, each) is not None for each in (first, second, third)] == [False, False, True]
    assert logged_in(sessions, cookie) is None


def test_one_name_at_the_same_moment_gives_one_token(sessions: Sessions) -> None:
    def attempt() -> str | None:
        try:
            return make(sessions)
        except Conflict:
            return None

    made = [secret for secret in race([attempt] * 6) if secret]
    assert len(made) == 1
    assert granted(sessions, made[0]) is not None


def test_expired_and_revoked_tokens_grant_nothing_and_say_so_in_the_list(sessions: Sessions) -> None:
    late, gone = make(sessions, "late", expires_seconds=60), make(sessions, "gone")
    make(sessions, "good", expires_seconds=3600)
    with sessions() as session:
        assert queries.any_usable(session)
    later(sessions, 61)
    with sessions.begin() as session:
        tokens.revoke(session, "gone")
        tokens.revoke(session, "gone")
    assert [granted(sessions, secret) for secret in (late, gone)] == [None, None]
    states = {name: token.state for name, token in listed(sessions).items()}
    assert states == {"good": TokenState.USABLE, "gone": TokenState.REVOKED, "late": TokenState.EXPIRED}
    later(sessions, 3600)
    with sessions() as session:
        assert not queries.any_usable(session)
    with pytest.raises(NotFound, match="nobody"), sessions.begin() as session:
        tokens.revoke(session, "nobody")


# --- logins ------------------------------------------------------------------------


def test_a_login_grants_what_its_token_grants_until_it_ends(sessions: Sessions) -> None:
    secret = make(sessions, "alice", Scope.READ)
    cookie, seconds = log_in(sessions, secret)
    assert seconds == tokens.LOGIN_SECONDS
    assert logged_in(sessions, cookie) == granted(sessions, secret)
    assert granted(sessions, cookie) is None
    assert logged_in(sessions, secret) is None
    later(sessions, tokens.LOGIN_SECONDS)
    assert logged_in(sessions, cookie) is None
    assert granted(sessions, secret) is not None


def test_a_login_lasts_no_longer_than_its_token(sessions: Sessions) -> None:
    secret = make(sessions, expires_seconds=100)
    cookie, seconds = log_in(sessions, secret)
    assert 90 <= seconds <= 100
    with sessions.begin() as session:
        session.execute(update(Token).values(expires_at=clock.now(session)))
    assert logged_in(sessions, cookie) is None


def test_revoking_ends_the_logins_of_that_token_only(sessions: Sessions) -> None:
    alice, bob = (log_in(sessions, make(sessions, name))[0] for name in ("alice", "bob"))
    with sessions.begin() as session:
        tokens.revoke(session, "alice")
    assert logged_in(sessions, alice) is None
    assert logged_in(sessions, bob) is not None


def test_nobody_logs_in_with_a_token_that_has_ended(sessions: Sessions) -> None:
    gone, late = make(sessions), make(sessions, "late", expires_seconds=60)
    with sessions.begin() as session:
        tokens.revoke(session, "alice")
    later(sessions, 61)
    for secret in (gone, late, "", "dv_unknown"):
        with pytest.raises(NotFound, match="cannot be used"):
            log_in(sessions, secret)


def test_a_name_given_again_is_another_token(sessions: Sessions) -> None:
    seen: set[int] = set()
    for scope in (Scope.READ, Scope.ADMIN, Scope.SUBMIT):
        secret = make(sessions, scope=scope)
        grant = granted(sessions, secret)
        assert grant is not None
        assert grant.token_id not in seen  # whatever still holds an old one's id holds nothing of this one
        seen.add(grant.token_id)
        log_in(sessions, secret)
        with sessions.begin() as session:
            tokens.revoke(session, "alice")
        with pytest.raises(NotFound):
            log_in(sessions, secret)
    assert list(listed(sessions)) == ["alice"]


def test_logging_out_ends_one_login_and_old_ones_are_cleared_away(sessions: Sessions) -> None:
    secret = make(sessions)
    first, second, third = (log_in(sessions, secret)[0] for _ in range(3))
    with sessions.begin() as session:
        tokens.log_out(session, first)
        tokens.log_out(session, "unknown")
    assert [logged_in(sessions, each) is not None for each in (first, second, third)] == [False, True, True]
    later(sessions, tokens.LOGIN_SECONDS)
    log_in(sessions, secret)
    with sessions() as session:
        assert len(session.scalars(select(Login)).all()) == 1


# --- the last use ------------------------------------------------------------------


def test_the_last_use_is_noted_to_the_minute(sessions: Sessions) -> None:
    grant = granted(sessions, make(sessions))
    assert grant is not None
    assert grant.last_used_at is None
    with sessions.begin() as session:
        moment = clock.now(session)
        tokens.note_use(session, grant.token_id)
    noted = listed(sessions)["alice"].last_used_at
    assert noted is not None
    assert (noted.second, noted.microsecond) == (0, 0)
    assert abs((moment - noted).total_seconds()) < 120
    assert tokens.use_is_stale(None, moment)
    assert not tokens.use_is_stale(moment, clock.after(moment, 59))
    assert tokens.use_is_stale(moment, clock.after(moment, 61))
