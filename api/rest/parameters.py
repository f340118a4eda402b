"""Query strings: each parameter once."""

from flask import Flask, request

from api.problems import BadRequest


def register(app: Flask) -> None:
    """Check the query string of every request to the API."""
    app.before_request(check_once)


def check_once() -> None:
    """Refuse a parameter that is given twice: whichever value was taken, the other would be ignored in silence.

    Raises:
        BadRequest: one is.
    """
    twice = [name for name, values in request.args.lists() if len(values) > 1]
    if twice and request.path.startswith("/api/"):
        raise BadRequest(f"The parameter {twice[0]!r} is given more than once.", "Give each parameter once.")
