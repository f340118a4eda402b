"""Reads of API tokens: who a request comes from, and the list for people. No answer holds what a token is kept as."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.orm import Session

from core.specs import Scope
from db import clock
from db.models import Login, Token
from db.queries.paging import View
from db.tokens import digest


class TokenState(StrEnum):
    """Whether a token can be used."""

    USABLE = "usable"
    EXPIRED = "expired"
    REVOKED = "revoked"


class Grant(View):
    """What a usable token allows, and to whom."""

    token_id: int
    name: str
    scope: Scope
    last_used_at: datetime | None
    requests_per_minute: int | None  # None: what the settings say


class TokenView(View):
    """A token as its list shows it. None for a limit: what the settings say."""

    name: str
    scope: Scope
    state: TokenState
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    requests_per_minute: int | None
    max_open_atlases: int | None
    max_images_per_day: int | None


def find_bearer(session: Session, secret: str) -> Grant | None:
    """What the token `secret` allows; None if it is unknown, revoked or has expired."""
    usable = _usable(clock.now(session))
    return _grant(session.scalar(select(Token).where(Token.hash == digest(secret), usable)))


def find_login(session: Session, cookie: str) -> Grant | None:
    """What the token allows that the browser with `cookie` logged in with; None if either has ended."""
    moment = clock.now(session)
    logged_in = select(Token).join(Login, Login.token_id == Token.id).where(Login.hash == digest(cookie))
    return _grant(session.scalar(logged_in.where(Login.expires_at > moment, _usable(moment))))


def any_usable(session: Session) -> bool:
    """Whether there is a token with which anything can be asked."""
    return session.scalar(select(Token.id).where(_usable(clock.now(session))).limit(1)) is not None


def list_tokens(session: Session) -> tuple[TokenView, ...]:
    """Every token, by name."""
    moment = clock.now(session)
    return tuple(_view(token, moment) for token in session.scalars(select(Token).order_by(Token.name)))


def _usable(moment: datetime) -> ColumnElement[bool]:
    return and_(Token.revoked_at.is_(None), or_(Token.expires_at.is_(None), Token.expires_at > moment))


def _grant(token: Token | None) -> Grant | None:
    if token is None:
        return None
    return Grant(
        token_id=token.id,
        name=token.name,
        scope=_scope(token),
        last_used_at=token.last_used_at,
        requests_per_minute=token.requests_per_minute,
    )


def _scope(token: Token) -> Scope:
    """The widest of its scopes, which includes the others."""
    return max(map(Scope, token.scopes), key=list(Scope).index)


def _view(token: Token, moment: datetime) -> TokenView:
    fields = ("name", "created_at", "expires_at", "last_used_at", "requests_per_minute", "max_open_atlases")
    return TokenView(
        **{name: getattr(token, name) for name in fields},
        max_images_per_day=token.max_images_per_day,
        scope=_scope(token),
        state=_state(token, moment),
    )


def _state(token: Token, moment: datetime) -> TokenState:
    if token.revoked_at is not None:
        return TokenState.REVOKED
    over = token.expires_at is not None and token.expires_at <= moment
    return TokenState.EXPIRED if over else TokenState.USABLE
