"""Every error as an RFC 9457 problem document: what is wrong, and what would be right."""

import logging
from collections.abc import Iterator

from apiflask.exceptions import HTTPError
from flask import Flask, Response, render_template, request
from pydantic import BaseModel, Field
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as BaseResponse

from api.uploads import limit_name
from core.errors import DeepvisError, InvalidRequest, NotFound, NotReady, TooLarge, UnitOutOfRange, UnknownLayer
from core.specs import Scope
from db.outages import is_outage

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 3


class BadRequest(DeepvisError):
    """The request breaks the rules of HTTP or comes for a host name that is not this server's."""

    slug, title, status = "bad-request", "The request cannot be understood", 400


class MalformedJson(DeepvisError):
    """The body is not JSON, or holds text that cannot be stored."""

    slug, title, status = "malformed-json", "The body is not valid JSON", 400


class Unauthorized(DeepvisError):
    """An API token is required and none, or one that cannot be used, was sent."""

    slug, title, status = "unauthorized", "An API token is required", 401


class InsufficientScope(DeepvisError):
    """The token does not allow it; `needed` is the scope that does."""

    slug, title, status = "insufficient-scope", "The token does not allow this", 403

    def __init__(self, detail: str, remedy: str, needed: Scope) -> None:
        super().__init__(detail, remedy)
        self.needed = needed


class TooManyRequests(DeepvisError):
    """More requests than the token may send in a minute, or too many wrong tokens; Retry-After says when to go on."""

    slug, title, status = "too-many-requests", "Too many requests", 429

    def __init__(self, detail: str, remedy: str, seconds: int) -> None:
        super().__init__(detail, remedy)
        self.seconds = seconds


class Forbidden(DeepvisError):
    """The request comes from a place that may not make it, such as a page of another site."""

    slug, title, status = "forbidden", "Not allowed from there", 403


class MethodNotAllowed(DeepvisError):
    """The address exists, and does not answer to this method; the Allow header lists those it answers to."""

    slug, title, status = "method-not-allowed", "Method not allowed", 405


class UnsupportedMediaType(DeepvisError):
    """A body of another type than is taken: mostly, one that is not `application/json`."""

    slug, title, status = "unsupported-media-type", "The body is of a type that is not taken", 415


class InternalError(DeepvisError):
    """A fault of the server. Its log has the details; the answer has none."""

    slug, title, status = "internal-error", "The server failed", 500


_BY_STATUS: dict[int, type[DeepvisError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    405: MethodNotAllowed,
    413: TooLarge,
    415: UnsupportedMediaType,
    422: InvalidRequest,
    429: TooManyRequests,
    503: NotReady,
}


class FieldError(BaseModel):
    """One thing that is wrong with one field of a request."""

    field: str = Field(description="Path of the field, such as `recipes.0.steps`; empty: the whole")
    location: str = Field(description="Where the field is: json, query or headers")
    message: str = Field(description="What would be right")


class Problem(BaseModel):
    """A problem document (RFC 9457)."""

    type: str = Field(description="Stable address of the kind of problem; a page that explains it")
    title: str = Field(description="The kind of problem in words")
    status: int = Field(description="The HTTP status")
    detail: str = Field(description="What is wrong with this request")
    remedy: str = Field(default="", description="What would be right")
    instance: str = Field(default="", description="The path that was asked for")
    errors: list[FieldError] = Field(default=[], description="The fields that are wrong, if it is about fields")


def kinds() -> dict[str, type[DeepvisError]]:
    """Every kind of problem that the API answers with, by its slug."""

    def below(kind: type[DeepvisError]) -> Iterator[type[DeepvisError]]:
        for child in kind.__subclasses__():
            yield child
            yield from below(child)

    return {kind.slug: kind for kind in below(DeepvisError) if kind.__module__.startswith(("core.", "api."))}


def register(app: Flask) -> None:
    """Answer every error of `app` with a problem document (a page for a browser that asks for one)."""
    app.register_error_handler(DeepvisError, answer)
    app.register_error_handler(HTTPException, _werkzeug)
    app.register_error_handler(HTTPError, _apiflask)
    app.register_error_handler(Exception, _unexpected)


def answer(error: DeepvisError) -> Response:
    """The problem document of an error that was raised on purpose."""
    if error.status >= 500 and not isinstance(error, NotReady):
        return _unexpected(error)
    return _respond(_problem(type(error), error.detail, error.remedy, _status(error)), Headers(_headers(error)))


def _headers(error: DeepvisError) -> dict[str, str]:
    if isinstance(error, NotReady):
        return {"Retry-After": str(RETRY_AFTER_SECONDS)}
    if isinstance(error, TooManyRequests):
        return {"Retry-After": str(error.seconds)}
    if isinstance(error, InsufficientScope):  # RFC 6750, section 3.1
        return {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{error.needed}"'}
    if isinstance(error, Unauthorized):
        wrong = "Authorization" in request.headers
        return {"WWW-Authenticate": 'Bearer error="invalid_token"' if wrong else "Bearer"}
    return {}


def _status(error: DeepvisError) -> int:
    """A layer or unit named in the address is not found (404); named in a body, it makes the body invalid (422)."""
    in_address = request.method in {"GET", "HEAD"} and isinstance(error, UnknownLayer | UnitOutOfRange)
    return 404 if in_address else error.status


def _werkzeug(error: HTTPException) -> BaseResponse:
    if error.response is not None or error.code is None or error.code < 400:  # a redirect in an exception's shape
        return error.get_response()
    status = error.code
    kind = _BY_STATUS.get(status, BadRequest if status < 500 else InternalError)
    detail, remedy = _words(status, error.description or "")
    headers = Headers([(name, value) for name, value in error.get_headers() if name != "Content-Type"])
    return _respond(_problem(kind, detail, remedy, status), headers)


def _words(status: int, description: str) -> tuple[str, str]:
    if status == 404:
        return f"There is nothing at {request.path}.", "The API's addresses are listed at /api/v1/docs."
    if status == 405:
        return f"{request.path} does not answer to {request.method}.", "The Allow header lists what it answers to."
    if status == 413:
        limit = request.max_content_length
        return f"The body is over the limit of {limit} bytes.", f"Send less, or raise {limit_name()}."
    return description, ""


def _apiflask(error: HTTPError) -> Response:
    fields = [
        FieldError(
            field="" if name == "_schema" else name, location=location, message=message.removeprefix("Value error, ")
        )
        for location, wrong in (error.detail or {}).items()
        for name, messages in wrong.items()
        for message in messages
    ]
    kind = _BY_STATUS.get(error.status_code, InvalidRequest)
    listed = "; ".join(f"{e.field or e.location}: {e.message}" for e in fields[:3]) or error.message or ""
    problem = _problem(kind, listed, "The API's fields and their limits are listed at /api/v1/docs.", error.status_code)
    return _respond(problem.model_copy(update={"errors": fields}))


def _unexpected(error: Exception) -> Response:
    if is_outage(error):
        log.warning("%s %s: the database is away: %s", request.method, request.path, str(error).partition("\n")[0])
        return answer(NotReady("The database does not answer.", "Try again in a moment; `deepvis doctor` says more."))
    log.error("%s %s failed", request.method, request.path, exc_info=error)
    return _respond(_problem(InternalError, "The server failed on this request; its log says how.", ""))


def _problem(kind: type[DeepvisError], detail: str, remedy: str, status: int | None = None) -> Problem:
    return Problem(
        type=f"/problems/{kind.slug}",
        title=kind.title,
        status=status or kind.status,
        detail=detail,
        remedy=remedy,
        instance=request.path,
    )


def _respond(problem: Problem, headers: Headers | None = None) -> Response:
    return _page(problem, headers) if wants_page() else _document(problem, headers)


def _document(problem: Problem, headers: Headers | None) -> Response:
    return Response(
        problem.model_dump_json(exclude_defaults=True) + "\n", problem.status, headers, content_type=MEDIA_TYPE
    )


def _page(problem: Problem, headers: Headers | None) -> Response:
    html = render_template("error.html", problem=problem)
    return Response(html, problem.status, headers, content_type="text/html; charset=utf-8")


def wants_page() -> bool:
    """A browser that walks the pages gets a page; everything under /api gets a document."""
    if request.path.startswith("/api/"):
        return False
    accepts = request.accept_mimetypes
    return accepts.best_match([MEDIA_TYPE, "text/html"]) == "text/html" and "text/html" in accepts.values()
