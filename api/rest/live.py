"""Live sessions: a viewer sends frames one at a time, and gets what the network makes of each."""

import logging
import threading
from typing import Any

from apiflask import APIBlueprint
from flask import Response, current_app, request, url_for
from pydantic import BaseModel, ConfigDict, Field

from api.rest.networks import Links
from api.security import callers
from api.services import services
from broker import messages
from broker.live import LiveSession, LiveSessions, connect
from broker.live_asking import Asker
from broker.packets import unpack
from core.errors import BadSetting, NotDescribed, NotReady, by_slug
from core.live import LiveView
from core.specs import NETWORK_NAME
from db.models import NetworkState
from db.queries.networks import get_network

log = logging.getLogger(__name__)
blueprint = APIBlueprint("live", __name__, url_prefix="/api/v1/live", tag="Live")

FRAME_SECONDS = 5.0
"""A frame that has no answer by then gets none."""
LEFT_THREADS = 4
"""The web server keeps so many threads for other requests, beside those that streams of events may hold."""
PACKET = "application/x-deepvis-packet"
RESPONSES: dict[int | str, dict[str, str | dict[str, dict[str, Any]]]] = {
    200: {"description": "What is to be seen", "content": {PACKET: {}}}
}
ENDED: dict[int | str, dict[str, str | dict[str, dict[str, Any]]]] = {204: {"description": "Ended", "content": {}}}
KEY = "deepvis.live"


class LiveWish(BaseModel):
    """What to look at."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    network: str = Field(pattern=NETWORK_NAME, description="Name of the network")


class LiveAnswer(BaseModel):
    """A live session."""

    id: str
    network: str
    links: Links


class Desk:
    """This process's end of the live sessions."""

    def __init__(self) -> None:
        settings = services().settings
        try:
            client = connect(settings)
        except BadSetting as error:  # only this part of the service does without
            raise NotReady(error.detail, error.remedy) from error
        self.sessions = LiveSessions(client)
        self.asker = Asker(client)
        threads = settings.web_threads
        self.seats = threading.BoundedSemaphore(max(1, threads - threads // 2 - LEFT_THREADS))


def desk() -> Desk:
    """The present application's desk, made when it is first needed.

    Raises:
        NotReady: there is no Redis for live sessions.
    """
    if KEY not in current_app.extensions:
        current_app.extensions[KEY] = Desk()
    found: Desk = current_app.extensions[KEY]
    return found


@blueprint.post("")
@blueprint.input(LiveWish)
@blueprint.output(LiveAnswer, status_code=201)
def open_session(json_data: LiveWish) -> tuple[LiveAnswer, int, dict[str, str]]:
    """Begin to look at a network. A live worker loads it; frames are then sent one after the other.

    The session ends when no frame comes for 15 seconds, or with DELETE. If nobody knows the network's layers yet, a
    worker is asked to find them, and the answer is 503 (not-described) with Retry-After.
    """
    with services().sessions() as session:
        network = get_network(session, json_data.network)
    if network.state != NetworkState.DESCRIBED:
        raise NotDescribed(network.name)
    made = desk().sessions.open(network.name, callers.caller().owner)
    _ask_for_worker(made)
    address = url_for("live.send_frame", session_id=made.id)
    answer = LiveAnswer(id=made.id, network=made.network, links={"frames": address})
    return answer, 201, {"Location": url_for("live.close_session", session_id=made.id)}


@blueprint.post("/<session_id>/frames")
@blueprint.input(LiveView, location="query")
@blueprint.doc(responses=RESPONSES)
def send_frame(session_id: str, query_data: LiveView) -> Response:
    """One frame, a picture as the body, and what the network makes of it.

    The next frame is sent when the answer is there, or with its 503. The answer is a packet: four bytes with the length
    of a JSON header (most significant first), the header, then the pictures that its `parts` list.
    """
    session = _session(session_id)
    seats = desk().seats
    if not seats.acquire(blocking=False):
        raise NotReady("As many viewers look as this server bears.", "It is tried again; see DEEPVIS_WEB_THREADS.")
    try:
        view = query_data.model_dump(mode="json")
        answer = desk().asker.ask(session.id, view, request.get_data(), FRAME_SECONDS)
    except NotReady:
        _ask_for_worker(session)
        raise
    finally:
        seats.release()
    _raise_problem(answer)
    return Response(answer, content_type=PACKET, headers={"Cache-Control": "no-store"})


@blueprint.delete("/<session_id>")
@blueprint.doc(responses=ENDED)
def close_session(session_id: str) -> Response:
    """End a session: its worker is free."""
    desk().sessions.close(_session(session_id).id)
    return Response(status=204)


def _session(session_id: str) -> LiveSession:
    """The session, which must be the caller's own."""
    session = desk().sessions.find(session_id)
    callers.check_owner(session.owner)
    return session


def _ask_for_worker(session: LiveSession) -> None:
    """Now and then, while none serves the session. Without a broker the frames say so."""
    try:
        if desk().sessions.needs_hint(session.id):
            messages.send_live(services().celery, session.id)
    except NotReady as error:
        log.warning("no live worker was asked for: %s", error)


def _raise_problem(answer: bytes) -> None:
    """Raise what the worker says is wrong."""
    header: dict[str, Any] = unpack(answer)[0]
    if problem := header.get("problem"):
        raise by_slug(problem["slug"])(problem["detail"], problem["remedy"])
