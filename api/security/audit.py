"""Who did what, and when: a line in the log for each change, each login and each token that was refused.

They are written at every log level, so that the trail has no gaps.
"""

from urllib.parse import quote

from flask import Response, g, request

from api.security import hosts
from api.security.forgery import SAFE_METHODS
from core import audit

OWNER_KEY = "deepvis.owner"
"""Where the WSGI environment says who asks, for the web server's own log."""

CHANGES_NOTHING = frozenset({"live.send_frame"})
"""Many a second, and what they show is kept nowhere; that somebody begins to look is noted."""


def note(owner: str | None, action: str, status: int | None = None) -> None:
    """Say that `owner` (None: nobody that we know) does something, from where the present request comes."""
    audit.note(owner or "somebody", action, client=hosts.client_network() or "a socket", status=status)


def note_change(response: Response) -> Response:
    """Note every request with which somebody whom we know wants to change something, whatever came of it."""
    if request.method not in SAFE_METHODS and request.endpoint not in CHANGES_NOTHING and "caller" in g:
        # What is new has no name in the request, and one in the answer.
        named = list((request.view_args or {}).values()) or [response.headers.get("Location", "").rpartition("/")[2]]
        arguments = " ".join(quote(str(value), safe="") for value in named)
        action = f"asks for {request.endpoint or 'nothing'} {arguments}".rstrip()
        note(g.caller.owner, action, response.status_code)
    return response
