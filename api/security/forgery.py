"""Requests that pages make: none that another site's page set up, no form that we did not hand out.

What changes something under /api must be JSON with an origin of ours, which no other site's page can send; forms can be
sent by any page, so that ours carry a value besides, which follows from a cookie that other pages cannot read. For the
sign-out form that cookie is the login; for the forms that work without a login it is one made for them: with the log-in
form another site could otherwise log a visitor in with a token of its own.
"""

import hmac
import secrets

from flask import Response, after_this_request, g, request

from api.problems import Forbidden
from api.security.cookies import FORM, SESSION, read_cookie, set_cookie

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
FIELD = "form"
LOG_IN = "login.enter"
FOR_ANYBODY = frozenset({LOG_IN, "gallery.send_picture", "gallery.add_probe_set", "gallery.delete_probe_set"})
"""Forms that a browser without a login may send too."""


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


def check_form() -> None:
    """Refuse a form that no page of ours gave to this browser.

    Raises:
        Forbidden: it carries no value, or that of another browser or login.
    """
    if request.method in SAFE_METHODS or request.endpoint is None or request.path.startswith("/api/"):
        return
    cookie = read_cookie(FORM if request.endpoint in FOR_ANYBODY else SESSION)
    sent = request.form.get(FIELD, "")
    if not cookie or not hmac.compare_digest(sent.encode(), _value(cookie).encode()):
        raise Forbidden("This form is not one that this server gave to this browser.", "Load the page and try again.")


def form_value() -> str:
    """The value of the hidden field of forms for anybody; its cookie is set with the answer if the browser has none."""
    cookie = read_cookie(FORM)
    if not cookie:
        cookie = g.form_cookie = secrets.token_urlsafe(32)
        after_this_request(_set_form_cookie)
    return _value(cookie)


def session_value() -> str:
    """The value of the hidden field of forms that somebody who logged in may send."""
    return _value(read_cookie(SESSION))


def _set_form_cookie(response: Response) -> Response:
    set_cookie(response, FORM, g.form_cookie)
    return response


def _value(cookie: str) -> str:
    return hmac.new(cookie.encode(), b"deepvis form", "sha256").hexdigest()
