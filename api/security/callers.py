"""Who asks: by a token in the header, by a browser that logged in with one, or from this machine without."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from urllib.parse import quote

from flask import Flask, Response, current_app, g, redirect, request
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response as BaseResponse

from api.problems import Forbidden, InsufficientScope, Unauthorized, wants_page
from api.security import audit, hosts, limits, scopes
from api.security.cookies import SESSION, read_cookie
from api.services import EXTENSION, Services, services
from core.errors import NotFound
from core.listening import is_loopback
from core.settings import Settings
from core.specs import LOCAL_OWNER, Scope
from db import clock, tokens
from db.queries import tokens as queries
from db.queries.tokens import Grant
from db.tokens import NewLogin

log = logging.getLogger(__name__)

KNOWN_KEY = "deepvis.callers"
KNOWN_SECONDS = 3.0
"""Who was found in the database is believed for so long; a token that is revoked meanwhile still works."""
MOST_KNOWN = 1000
NOBODY_MAY_ASK = (
    "No API token can be used, so nobody is answered; `deepvis tokens make NAME --scope admin` makes the first."
)

Find = Callable[[Session, str], Grant | None]


@dataclass(frozen=True)
class Caller:
    """Whoever makes a request."""

    owner: str  # of what is asked for
    scope: Scope
    grant: Grant | None = None  # None: somebody on this machine, without a token


LOCAL = Caller(LOCAL_OWNER, Scope.ADMIN)


class Known:
    """Callers found a moment ago, so that most requests cost the database nothing.

    By how they were found and their secret's hash: a cookie is no token, nor a token a cookie.
    """

    def __init__(self, seconds: float = KNOWN_SECONDS, now: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._now = seconds, now
        self._found: dict[tuple[Find, str], tuple[Caller, float]] = {}

    def get(self, find: Find, secret: str) -> Caller | None:
        """Whose it is, if that was found a moment ago."""
        caller, until = self._found.get((find, tokens.digest(secret)), (None, 0.0))
        return caller if self._now() < until else None

    def put(self, find: Find, secret: str, caller: Caller) -> None:
        """Believe for a moment whose it is."""
        if len(self._found) >= MOST_KNOWN:
            self._found.clear()
        self._found[find, tokens.digest(secret)] = (caller, self._now() + self._seconds)

    def forget(self, find: Find, secret: str) -> None:
        """Ask the database the next time."""
        self._found.pop((find, tokens.digest(secret)), None)


def prepare(app: Flask) -> None:
    """Keep what is known of callers with `app`; say so if nobody can be one."""
    app.extensions[KNOWN_KEY] = Known()
    parts: Services = app.extensions[EXTENSION]
    if tokens_are_required(parts.settings):
        with parts.sessions() as session:
            if not queries.any_usable(session):
                log.warning(NOBODY_MAY_ASK)


def tokens_are_required(settings: Settings) -> bool:
    """Whether even somebody on this machine needs a token: it is asked for, or others are served.

    Whoever gives the server a public name has a proxy before it, whose requests all come from this machine.
    """
    return settings.require_tokens or bool(settings.trusted_hosts.strip()) or not is_loopback(settings.host)


def log_in(token: str) -> NewLogin | None:
    """Log a browser in; None if the token is wrong, which counts as a guess.

    The database alone is asked: what was true seconds ago must not become a login of thirty days.

    Raises:
        TooManyRequests: there were too many guesses from there.
    """
    try:
        with services().sessions.begin() as session:
            made = tokens.log_in(session, token)
    except NotFound:
        limits.count_guess()
        return None
    audit.note(made.owner, "logs in")
    return made


def log_out(cookie: str) -> None:
    """End the login of that cookie."""
    if not tokens.looks_like_cookie(cookie):
        return
    with services().sessions.begin() as session:
        tokens.log_out(session, cookie)
    known().forget(queries.find_login, cookie)


def known() -> Known:
    """Who was found lately."""
    found: Known = current_app.extensions[KNOWN_KEY]
    return found


def caller() -> Caller:
    """Who makes the present request."""
    found: Caller = g.caller
    return found


# --- checks ------------------------------------------------------------------------


def check_caller() -> BaseResponse | None:
    """Find out who asks; send a browser that nobody logged in with to the log-in form.

    Raises:
        Unauthorized: no token, or not one that can be used, where one is needed.
        Forbidden: a proxy passes on what others ask, and this server believes that only this machine asks.
        TooManyRequests: too many wrong tokens came from there.
    """
    if scopes.needed(request.endpoint, request.method) is None:
        return None
    found = _identify()
    if found is None:
        return _turn_away()
    g.caller = found
    request.environ[audit.OWNER_KEY] = found.owner
    return None


def check_scope() -> None:
    """Refuse what the caller's token does not allow.

    Raises:
        InsufficientScope: it needs more.
    """
    needed = scopes.needed(request.endpoint, request.method)
    if needed is not None and not caller().scope.includes(needed):
        detail = f"The token {caller().owner!r} has the scope {caller().scope}."
        raise InsufficientScope(detail, f"This needs a token with the scope {needed}.", needed)


def check_owner(owner: str) -> None:
    """Refuse a change to what is somebody else's.

    Raises:
        InsufficientScope: it is, and the caller's scope is less than admin.
    """
    if not may_change(owner):
        detail = f"This belongs to {owner!r}, and the token is {caller().owner!r}."
        raise InsufficientScope(detail, "To change what is somebody else's needs the scope admin.", Scope.ADMIN)


def may(scope: Scope) -> bool:
    """Whether the caller may do what `scope` allows; nobody in particular may do nothing."""
    return "caller" in g and caller().scope.includes(scope)


def may_change(owner: str) -> bool:
    """Whether the caller may change what belongs to `owner`."""
    return may(Scope.ADMIN) or (may(Scope.SUBMIT) and caller().owner == owner)


# --- finding out -------------------------------------------------------------------


def by_token(token: str) -> Caller | None:
    """Whose token it is; None if it cannot be used, which counts as a guess. A right one is never refused.

    Raises:
        TooManyRequests: there were too many guesses from there.
    """
    found = known().get(queries.find_bearer, token)
    if found is None and tokens.looks_like_token(token):
        found = _look_up(queries.find_bearer, token)
    if found is None:
        limits.count_guess()
    return found


def _identify() -> Caller | None:
    """Who asks, if that can be told. A token that is sent must be right; a cookie may be another server's."""
    if "Authorization" in request.headers:
        sent = request.authorization
        return by_token(sent.token) if sent and sent.type == "bearer" and sent.token else None
    return _by_login(read_cookie(SESSION)) or (LOCAL if _is_here() else None)


def _is_here() -> bool:
    open_here = not tokens_are_required(services().settings)
    return open_here and hosts.peer_is_here() and not hosts.is_forwarded()


def _by_login(cookie: str) -> Caller | None:
    if not tokens.looks_like_cookie(cookie):
        return None
    return known().get(queries.find_login, cookie) or _look_up(queries.find_login, cookie)


def _look_up(find: Find, secret: str) -> Caller | None:
    with services().sessions() as session:
        grant = find(session, secret)
        stale = grant is not None and tokens.use_is_stale(grant.last_used_at, clock.now(session))
    if grant is None:
        return None
    if stale:
        g.used_token = grant.token_id
    found = Caller(grant.name, grant.scope, grant)
    known().put(find, secret, found)
    return found


def _turn_away() -> BaseResponse:
    sent = "Authorization" in request.headers
    if not sent and hosts.peer_is_here() and hosts.is_forwarded() and not tokens_are_required(services().settings):
        detail = "A proxy passes this request on, and this server answers without tokens, to its own machine only."
        raise Forbidden(detail, "Set DEEPVIS_REQUIRE_TOKENS=true for a server behind a proxy.")
    if request.method == "GET" and wants_page() and not sent:
        return redirect(f"/login?next={quote(request.full_path.rstrip('?'))}", 303)
    if sent:
        remedy = "Send 'Authorization: Bearer TOKEN' with a token that is not revoked and has not expired."
        raise Unauthorized("That is not a token with which this server can be asked.", remedy)
    remedy = "Send it as 'Authorization: Bearer TOKEN', or log in at /login."
    raise Unauthorized("This server answers only with one of its API tokens.", remedy)


# --- the last use ------------------------------------------------------------------


def note_use(response: Response) -> Response:
    """Have the token's last use noted once the answer is sent: a write may wait for a lock, reading must not."""
    if token_id := g.pop("used_token", None):
        response.call_on_close(partial(_note_use, services(), token_id))
    return response


def _note_use(parts: Services, token_id: int) -> None:
    try:
        with parts.sessions.begin() as session:
            tokens.note_use(session, token_id)
    except SQLAlchemyError as error:  # the answer is sent, and the next one notes it
        log.warning("The last use of token %d was not noted: %s", token_id, error)
