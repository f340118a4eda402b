"""Logging a browser in: the token is typed once, a cookie stays. Both are kept as hashes only."""

from apiflask import APIBlueprint
from flask import Response, make_response, redirect, render_template, request
from werkzeug.wrappers import Response as BaseResponse

from api.security import callers, forgery
from api.security.cookies import SESSION, delete_cookie, read_cookie, set_cookie

blueprint = APIBlueprint("login", __name__, enable_openapi=False)


@blueprint.get("/login")
def form() -> str:
    """The form that asks for a token."""
    return _form(_own_path(request.args.get("next", "")))


@blueprint.post("/login")
def enter() -> BaseResponse:
    """Log the browser in if the token is right."""
    target = _own_path(request.form.get("next", ""))
    login = callers.log_in(request.form.get("token", "").strip())
    if login is None:
        return Response(_form(target, "That is not a token with which this server can be asked."), 401)
    response = redirect(target, 303)
    set_cookie(response, SESSION, login.cookie, login.seconds)
    return response


@blueprint.post("/logout")
def leave() -> BaseResponse:
    """End the login, here and in the database."""
    callers.log_out(read_cookie(SESSION))
    response = make_response(redirect("/login", 303))
    delete_cookie(response, SESSION)
    return response


def _form(target: str, error: str = "") -> str:
    return render_template("login.html", next=target, error=error, form_value=forgery.form_value())


def _own_path(path: str) -> str:
    """`path` if it is one of this server; anything that a browser could take for another server becomes "/"."""
    is_own = path.startswith("/") and not path.startswith("//") and "\\" not in path and path.isprintable()
    return path if is_own else "/"
