"""The two cookies: a browser's login, and what ties the log-in form to the browser that was given it."""

from flask import Response, request
from werkzeug.wrappers import Response as BaseResponse

SESSION = "deepvis_session"
FORM = "deepvis_form"


def full_name(name: str) -> str:
    """Over HTTPS the name says that nobody but this very host, over HTTPS, can have set the cookie."""
    return f"__Host-{name}" if request.is_secure else name


def read_cookie(name: str) -> str:
    """Its value; empty if the browser sends none."""
    return request.cookies.get(full_name(name), "")


def set_cookie(response: Response | BaseResponse, name: str, value: str, seconds: int | None = None) -> None:
    """Set it for `seconds`, or until the browser is closed: for no script, no other site, and over HTTPS only there."""
    response.set_cookie(
        full_name(name), value, max_age=seconds, httponly=True, samesite="Strict", secure=request.is_secure
    )


def delete_cookie(response: Response | BaseResponse, name: str) -> None:
    """Have the browser forget it."""
    response.delete_cookie(full_name(name), httponly=True, samesite="Strict", secure=request.is_secure)
