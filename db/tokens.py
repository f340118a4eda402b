"""Commands on API tokens and on the logins of browsers that come from them.

Tokens and cookies are random (256 bits) and kept as SHA-256 only: whoever reads the database cannot use it to ask.
"""

import re
import secrets
from dataclasses import asdict, dataclass
from datetime import datetime
from hashlib import sha256

from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import Session

from core.errors import Conflict, InvalidRequest, NotFound
from core.specs import LOCAL_OWNER, Scope
from db import clock
from db.completion import lock_owner
from db.models import Login, Token

PREFIX = "dv_"
"""Tokens begin with it, so that people and secret scanners know one when they see it."""
RANDOM_BYTES = 32
COOKIE = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
"""What RANDOM_BYTES look like. What looks otherwise is no secret of ours, and costs no query."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
LOGIN_SECONDS = 30 * 24 * 3600
USE_SECONDS = 60
"""The last use is noted at most once in this time."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much a token may ask for; None: what the settings say."""

    requests_per_minute: int | None = None
    max_open_atlases: int | None = None  # unfinished at once
    max_images_per_day: int | None = None  # unit-images in 24 hours; 0: as many as they like


@dataclass(frozen=True)
class NewLogin:
    """What a browser is given, and whose it is."""

    cookie: str
    seconds: int  # that it lasts
    owner: str


def make(
    session: Session, name: str, scope: Scope, *, expires_seconds: float | None = None, limits: Limits = Limits()
) -> str:
    """A new token of that name, which is also the owner of what is asked for with it. It cannot be read again.

    The name of a token that has expired or was revoked may be given again; its atlases then belong to the new one.
    Nothing else is carried over: the new token is a new row with an id that none had, whatever still holds the old one.

    Args:
        session: in a writing transaction.
        name: up to 64 letters, digits and `._@-`.
        scope: what it allows.
        expires_seconds: it ends after this; None: never.
        limits: how much it may ask for.

    Raises:
        InvalidRequest: the name cannot be used.
        Conflict: a token of that name can still be used.
    """
    _check_name(name)
    lock_owner(session, name)  # one at a time, also for a name that no token has yet
    secret, moment = PREFIX + secrets.token_urlsafe(RANDOM_BYTES), clock.now(session)
    ended = _ended(session, name, moment)
    expires_at = None if expires_seconds is None else clock.after(moment, expires_seconds)
    token = Token(name=name, hash=digest(secret), scopes=[scope.value], created_at=moment, expires_at=expires_at)
    for limit, value in asdict(limits).items():
        setattr(token, limit, value)
    session.add(token)
    session.flush()
    if ended is not None:  # only now: SQLite gives the highest id again once its row is gone
        session.delete(ended)
    return secret


def _ended(session: Session, name: str, moment: datetime) -> Token | None:
    """The token of that name, if there was one; without its logins, and called otherwise until it is deleted."""
    token = _locked(session, name)
    if token is None:
        return None
    if _is_usable(token, moment):
        raise Conflict(f"There is a token {name!r} that can be used.", f"Run `deepvis tokens revoke {name}` first.")
    session.execute(delete(Login).where(Login.token_id == token.id))
    token.name = f" {token.hash[1:]}"  # the name of no token: they have no blanks
    session.flush()
    return token


def revoke(session: Session, name: str) -> None:
    """End the token of that name, and every login that came from it. Nothing if it was revoked before.

    Raises:
        NotFound: there is none.
    """
    token = _locked(session, name)
    if token is None:
        raise NotFound(f"There is no token {name!r}.", "`deepvis tokens list` shows them.")
    token.revoked_at = token.revoked_at or clock.now(session)
    session.execute(delete(Login).where(Login.token_id == token.id))


def note_use(session: Session, token_id: int) -> None:
    """Remember that the token was used now, to the minute."""
    moment = clock.now(session)
    stale = or_(Token.last_used_at.is_(None), Token.last_used_at < clock.after(moment, -USE_SECONDS))
    used = update(Token).where(Token.id == token_id, stale).values(last_used_at=moment.replace(second=0, microsecond=0))
    session.execute(used.execution_options(synchronize_session=False))


def use_is_stale(last_used_at: datetime | None, moment: datetime) -> bool:
    """Whether a use at `moment` is worth noting."""
    return last_used_at is None or last_used_at < clock.after(moment, -USE_SECONDS)


def log_in(session: Session, secret: str) -> NewLogin:
    """Log a browser in, in which the token `secret` was typed. Old logins are cleared away.

    Raises:
        NotFound: that is no token, or one that can no longer be used.
    """
    moment = clock.now(session)
    token = session.scalar(select(Token).where(Token.hash == digest(secret)).with_for_update(key_share=True))
    if token is None or not _is_usable(token, moment):
        raise NotFound("The token cannot be used.", "Ask whoever runs this service for a new one.")
    session.execute(delete(Login).where(Login.expires_at <= moment))
    longest = clock.after(moment, LOGIN_SECONDS)
    expires = min(longest, token.expires_at or longest)
    cookie = secrets.token_urlsafe(RANDOM_BYTES)
    session.add(Login(hash=digest(cookie), token_id=token.id, created_at=moment, expires_at=expires))
    return NewLogin(cookie, int((expires - moment).total_seconds()), token.name)


def log_out(session: Session, cookie: str) -> None:
    """End the login of that cookie, if there is one."""
    session.execute(delete(Login).where(Login.hash == digest(cookie)))


def looks_like_token(secret: str) -> bool:
    """Whether it could be a token."""
    return secret.startswith(PREFIX) and looks_like_cookie(secret.removeprefix(PREFIX))


def looks_like_cookie(secret: str) -> bool:
    """Whether it could be a login's cookie."""
    return COOKIE.fullmatch(secret) is not None


def digest(secret: str) -> str:
    """What is kept of a token or cookie. It is random, so neither salt nor a slow hash adds anything."""
    return sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise InvalidRequest(f"A token cannot be named {name!r}.", "Use up to 64 letters, digits and . _ @ -.")
    if name == LOCAL_OWNER:
        raise InvalidRequest(f"{LOCAL_OWNER!r} owns what is asked for without a token.", "Use another name.")


def _locked(session: Session, name: str) -> Token | None:
    return session.scalar(select(Token).where(Token.name == name).with_for_update())


def _is_usable(token: Token, moment: datetime) -> bool:
    return token.revoked_at is None and (token.expires_at is None or token.expires_at > moment)
