"""Who may ask, for what, and how often; and the headers of every answer. One module a concern."""

from flask import Flask

from api import uploads
from api.security import audit, callers, content, forgery, headers, hosts, limits

__all__ = ["register"]

CHECKS = (
    hosts.check_host,
    content.check_text,
    forgery.check_origin,
    callers.check_caller,
    limits.check_rate,
    callers.check_scope,
    content.check_media_type,
    uploads.allow_files,
    # Size is late: to refuse a body politely costs reading some of it, which not everybody may ask for.
    content.check_size,
    forgery.check_form,
)


def register(app: Flask) -> None:
    """Check every request to `app` before any view sees it, and add the headers to every answer."""
    callers.prepare(app)
    limits.prepare(app)
    for check in CHECKS:
        app.before_request(check)
    for answer in (headers.add_headers, limits.add_headers, callers.note_use, audit.note_change):
        app.after_request(answer)
