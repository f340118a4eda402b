"""Progress as server-sent events, within bounds: a stream holds a thread of the web server while it lasts."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from apiflask import APIBlueprint
from flask import Response, current_app, request

from api.rest.atlases import ProgressAnswer, progress
from api.services import services
from db.completion import UNFINISHED

blueprint = APIBlueprint("events", __name__, url_prefix="/api/v1/atlases", tag="Atlases")

LOOK_SECONDS = 0.5
"""Time between two looks at the database."""
HEARTBEAT_SECONDS = 10.0
"""Silence is broken after this, so that a client that went away is noticed."""
STREAM_SECONDS = 30.0
"""A stream ends after this; the client comes back for the next by itself, as the standard says."""
RETRY_MILLISECONDS = 1000
LAST_EVENT = "finished"
SEATS_KEY = "deepvis.events"
RESPONSES: dict[int | str, dict[str, str | dict[str, dict[str, Any]]]] = {
    200: {"description": "Events", "content": {"text/event-stream": {}}},
    204: {"description": "The last event was seen: do not come back", "content": {}},
}


@dataclass(frozen=True)
class Pace:
    """The clock of a stream, exchangeable so that tests need not wait."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


@blueprint.record_once
def _make_seats(state: object) -> None:
    """At most half of the server's threads may be held by streams."""
    app = state.app  # type: ignore[attr-defined]  # Flask's BlueprintSetupState
    threads = app.extensions["deepvis"].settings.web_threads
    app.extensions[SEATS_KEY] = threading.BoundedSemaphore(max(1, threads // 2))


@blueprint.get("/<atlas_id>/events")
@blueprint.doc(responses=RESPONSES)
def watch_atlas(atlas_id: str) -> Response:
    """The progress of an atlas as server-sent events.

    `progress` whenever it has changed, and `finished` at the end, each with the document of `/progress` as data.
    A stream lasts half a minute at most, then an EventSource reconnects by itself; when too many are open it ends
    after its first event, which makes the client poll.
    """
    sessions = services().sessions
    first = progress(sessions, atlas_id)  # an unknown atlas is answered with a problem, not with a stream
    if request.headers.get("Last-Event-ID") == LAST_EVENT and first.state not in UNFINISHED:
        return Response(status=204)
    seats = current_app.extensions[SEATS_KEY]
    if not seats.acquire(blocking=False):
        return _answer([f"retry: {2 * RETRY_MILLISECONDS}\n\n", _event(first)])
    response = _answer(events(lambda: progress(sessions, atlas_id), Pace()))
    response.call_on_close(seats.release)  # whether or not the stream was ever read
    return response


def events(look: Callable[[], ProgressAnswer], pace: Pace, seconds: float = STREAM_SECONDS) -> Iterator[str]:
    """The text of one stream: what `look` finds when it differs from before, heartbeats, and the end."""
    ends = pace.now() + seconds
    shown, spoken = None, pace.now()
    yield f"retry: {RETRY_MILLISECONDS}\n\n"
    while True:
        found = look()
        if found != shown:
            shown, spoken = found, pace.now()
            yield _event(found)
        if found.state not in UNFINISHED or pace.now() >= ends:
            return
        if pace.now() - spoken >= HEARTBEAT_SECONDS:
            spoken = pace.now()
            yield ": still here\n\n"
        pace.sleep(LOOK_SECONDS)


def _event(found: ProgressAnswer) -> str:
    finished = found.state not in UNFINISHED
    name = LAST_EVENT if finished else "progress"
    identity = f"id: {LAST_EVENT}\n" if finished else ""
    return f"event: {name}\n{identity}data: {found.model_dump_json()}\n\n"


def _answer(stream: Iterable[str]) -> Response:
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return Response(stream, headers=headers, content_type="text/event-stream; charset=utf-8")
