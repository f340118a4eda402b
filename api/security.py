"""Who may ask: host names, tokens, same-origin changes, body limits; and the headers of every answer."""

import hmac
import ipaddress
import re
import socket
import time
from hashlib import sha256
from typing import cast
from urllib.parse import quote

from flask import Flask, Request, Response, redirect, request
from werkzeug.wrappers import Response as BaseResponse

from api.bodies import JsonRequest
from api.problems import BadRequest, Forbidden, Unauthorized, UnsupportedMediaType, wants_page
from api.services import services
from core.errors import BadSetting
from core.listening import LEAST_TOKEN_CHARACTERS, is_loopback
from core.settings import Settings

COOKIE = "deepvis_session"
COOKIE_SECONDS = 30 * 24 * 3600
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
# Reachable without a token: probes, and the way to log in, with the style sheets that dress it.
OPEN_ENDPOINTS = frozenset(
    {"health.healthz", "health.readyz", "login.form", "login.enter", "login.leave", "gallery.static"}
)

_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?")

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' data: blob:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def register(app: Flask) -> None:
    """Check every request to `app` before any view sees it, and add the headers to every answer."""
    # Size is last: to refuse a body politely costs reading some of it, which not everybody may ask for.
    for check in (check_peer, check_host, check_text, check_origin, check_token, check_media_type, check_size):
        app.before_request(check)
    app.after_request(add_headers)


# --- where the server listens ----------------------------------------------------


def check_listen(settings: Settings) -> None:
    """Refuse to listen beyond this machine without tokens, and anywhere with tokens that can be guessed.

    Raises:
        BadSetting: `settings.host` is not a loopback address and no tokens are set, or one is too short.
    """
    if any(len(token) < LEAST_TOKEN_CHARACTERS for token in settings.accepted_tokens):
        raise BadSetting(
            f"An API token in DEEPVIS_TOKENS is shorter than {LEAST_TOKEN_CHARACTERS} characters.",
            'Make each with python -c "import secrets; print(secrets.token_urlsafe(32))".',
        )
    if not is_loopback(settings.host) and not settings.accepted_tokens:
        raise BadSetting(
            f"Listening on {settings.host or 'every address'} lets other machines in, and no API tokens are set.",
            "Set DEEPVIS_TOKENS to one or more long random tokens, or listen on 127.0.0.1.",
        )


def check_peer() -> None:
    """Without tokens only this machine is answered, however the server came to listen.

    A Unix socket has no address.
    """
    peer = request.environ.get("REMOTE_ADDR", "")
    if peer and not services().settings.accepted_tokens and not is_loopback(peer):
        raise Forbidden("Without API tokens only this machine is answered.", "Set DEEPVIS_TOKENS.")


# --- host names --------------------------------------------------------------------


def trusted_hosts(settings: Settings) -> frozenset[str]:
    """Names that the Host header may have, lower case; one that starts with a dot stands for every name below it."""
    own = {"localhost"}
    if not is_loopback(settings.host):
        own |= {settings.host.lower(), socket.gethostname().lower()}
    return frozenset(own | {h.strip().lower() for h in settings.trusted_hosts.split(",") if h.strip()})


def host_is_trusted(host: str, trusted: frozenset[str]) -> bool:
    """Whether a Host header may be answered: an IP address, or a trusted name.

    A page that rebinds its own name to our address always sends that name, never an address, so addresses are safe;
    Werkzeug's TRUSTED_HOSTS cannot say that, and matches no IPv6 address.
    """
    found = _HOST.fullmatch(host.lower())
    if found is None:
        return False
    name = found["name"].strip("[]")
    return _is_address(name) or name in trusted or any(t.startswith(".") and name.endswith(t) for t in trusted)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def check_host() -> None:
    """Protect from DNS rebinding: answer only to this server's own names."""
    host = request.headers.get("Host", "")
    if not host_is_trusted(host, trusted_hosts(services().settings)):
        raise BadRequest(f"This server does not answer to the host name {host!r}.", "Add it to DEEPVIS_TRUSTED_HOSTS.")


# --- what the request carries --------------------------------------------------------


def check_size() -> None:
    """Refuse a body over the limit by its announced length; a chunked one is counted as it is read."""
    limit = request.max_content_length
    if limit is not None and (request.content_length or 0) > limit:
        cast(JsonRequest, request).refuse()


def check_text() -> None:
    """Refuse NUL characters in addresses, which no database stores."""
    if "\0" in request.path or any("\0" in value for value in request.args.values()):
        raise BadRequest("The address holds a NUL character.", "Leave it out.")


def check_media_type() -> None:
    """A body sent to the API is JSON. Another site's form cannot send that without asking first."""
    has_body = bool(request.content_length) or request.headers.get("Transfer-Encoding")
    if request.path.startswith("/api/") and has_body and not request.is_json:
        raise UnsupportedMediaType(
            f"The body is {request.mimetype or 'of no stated type'!r}.", "Send application/json in Content-Type."
        )


def check_origin() -> None:
    """Refuse a change that a page of another site asks for; a request with its own token comes from no such page."""
    if request.method in SAFE_METHODS or "Authorization" in request.headers:
        return
    if not is_own_or_no_page():
        raise Forbidden("Changes from pages of another site are refused.", "Use this server's own pages or a token.")


def is_own_or_no_page() -> bool:
    """Whether one of this server's own pages asks, or no page at all."""
    site = request.headers.get("Sec-Fetch-Site")  # a browser's own word; older ones only send Origin
    if site:
        return site in {"same-origin", "none"}
    origin, host = request.headers.get("Origin"), request.headers.get("Host", "")
    return origin is None or origin.lower().partition("://")[2] == host.lower()


# --- tokens --------------------------------------------------------------------------


def check_token() -> BaseResponse | None:
    """Where tokens are set, everything but liveness and the log-in form needs one.

    A browser without one is sent to the log-in form.
    """
    tokens = services().settings.accepted_tokens
    if not tokens or request.endpoint in OPEN_ENDPOINTS or _is_authorised(request, tokens):
        return None
    if request.method == "GET" and wants_page():
        return redirect(f"/login?next={quote(request.full_path.rstrip('?'))}", 303)
    raise Unauthorized(
        "This server answers only with one of its API tokens.",
        "Send it as 'Authorization: Bearer TOKEN', or log in at /login.",
    )


def _is_authorised(asked: Request, tokens: frozenset[str]) -> bool:
    if asked.authorization is not None and asked.authorization.type == "bearer":
        return token_is_accepted(asked.authorization.token or "", tokens)
    return cookie_is_valid(asked.cookies.get(COOKIE, ""), tokens, time.time())


def token_is_accepted(token: str, tokens: frozenset[str]) -> bool:
    """Compare with every token in a time that tells nothing of them."""
    return sum(hmac.compare_digest(token.encode(), known.encode()) for known in tokens) > 0


def make_cookie(token: str, now: float) -> str:
    """A cookie value that proves knowledge of `token` until it expires, and from which `token` cannot be read."""
    expires = int(now) + COOKIE_SECONDS
    return f"{expires}.{_sign(token, expires)}"


def cookie_is_valid(value: str, tokens: frozenset[str], now: float) -> bool:
    """Whether `value` was made from one of `tokens` and has not expired."""
    digits, _, signature = value.partition(".")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 16) or int(digits) < now:
        return False
    return sum(hmac.compare_digest(signature.encode(), _sign(known, int(digits)).encode()) for known in tokens) > 0


def _sign(token: str, expires: int) -> str:
    return hmac.new(token.encode(), f"deepvis session until {expires}".encode(), sha256).hexdigest()


# --- answers ---------------------------------------------------------------------------


def add_headers(response: Response) -> Response:
    """Security headers on every answer; answers change, so caches ask again unless a view says otherwise."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Cache-Control", "private, no-cache")
    return response
