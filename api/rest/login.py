"""Logging a browser in: the token is typed once, a cookie that is made from it stays."""

import time

from apiflask import APIBlueprint
from flask import Response, make_response, redirect, render_template, request
from werkzeug.wrappers import Response as BaseResponse

from api import security
from api.services import services

blueprint = APIBlueprint("login", __name__, enable_openapi=False)


@blueprint.get("/login")
def form() -> str:
    """The form that asks for a token."""
    return render_template("login.html", next=_own_path(request.args.get("next", "")))


@blueprint.post("/login")
def enter() -> BaseResponse:
    """Set the cookie if the token is right."""
    token = request.form.get("token", "").strip()
    target = _own_path(request.form.get("next", ""))
    if not security.token_is_accepted(token, services().settings.accepted_tokens):
        return Response(
            render_template("login.html", next=target, error="That is not one of this server's tokens."), 401
        )
    response = redirect(target, 303)
    response.set_cookie(
        security.COOKIE,
        security.make_cookie(token, time.time()),
        max_age=security.COOKIE_SECONDS,
        httponly=True,
        samesite="Strict",
        secure=request.is_secure,
    )
    return response


@blueprint.post("/logout")
def leave() -> BaseResponse:
    """Forget the cookie."""
    response = make_response(redirect("/login", 303))
    response.delete_cookie(security.COOKIE, httponly=True, samesite="Strict", secure=request.is_secure)
    return response


def _own_path(path: str) -> str:
    """`path` if it is one of this server; anything that a browser could take for another server becomes "/"."""
    is_own = path.startswith("/") and not path.startswith("//") and "\\" not in path and path.isprintable()
    return path if is_own else "/"
