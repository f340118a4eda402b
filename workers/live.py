"""Live sessions: one task serves whoever looks, in turn, until nobody does (docs/decisions/live-workers.md)."""

import logging
import time
from contextlib import closing
from typing import TYPE_CHECKING, cast

from pydantic import ValidationError

from broker.live import LiveSession, connect
from broker.live_serving import Asked, Inbox
from broker.messages import send_live
from core.errors import DeepvisError, InvalidRequest
from core.live import LiveView
from core.uploads import Limits, read_upload
from db.queries.networks import NetworkView, get_network
from workers.reasons import explain, report
from workers.runtime import Runtime

if TYPE_CHECKING:
    from deepvis.engine import Engine
    from deepvis.showing import Shown

log = logging.getLogger(__name__)

FRAME_LIMITS = Limits(most_bytes=8_000_000, most_pixels=4_000_000, most_frames=1)
"""Of a frame: what is larger was not scaled down to what a network takes."""
IDLE_SECONDS = 2.0
"""With nobody to serve for so long, the task ends."""
WAIT_SECONDS = 0.25


def serve(runtime: Runtime) -> None:
    """Serve every live session that no other worker serves, until none is left or the worker has to stop."""
    longest = time.monotonic() + runtime.settings.task_seconds / 2  # a task that never ends would be stopped rudely
    room = LiveRoom(runtime)
    with closing(room), connect(runtime.settings) as client, Inbox(client, runtime.ledger.worker_id) as inbox:
        busy_at = time.monotonic()
        while runtime.stop.deadline is None and time.monotonic() < longest:
            if asked := inbox.take(WAIT_SECONDS):
                room.answer(inbox, asked)
            runtime.viewers = len(inbox.viewers)
            busy_at = time.monotonic() if runtime.viewers else busy_at
            if time.monotonic() - busy_at > IDLE_SECONDS:
                break
        left = inbox.viewers
    runtime.viewers = 0
    for session in left:
        send_live(runtime.celery, session.id)  # others go on with it


class LiveRoom:
    """Answers frames with the networks of this worker."""

    def __init__(self, runtime: Runtime) -> None:
        from workers.growth import Growth

        self._runtime = runtime
        self._networks: dict[str, NetworkView] = {}  # by name; what one is never changes
        self._growth = Growth()

    def close(self) -> None:
        """End what still grows."""
        self._growth.close()

    def answer(self, inbox: Inbox, asked: Asked) -> None:
        """Answer a frame: with what is to be seen, or with what is wrong."""
        try:
            self._answer(inbox, asked)
        except DeepvisError as error:
            inbox.answer(asked, {"problem": _problem(error)})
        except Exception as error:  # a network's own code may raise anything; the viewer is told
            report(f"live session {asked.session.id}: a frame cannot be answered", error)
            self._runtime.engines.clear()  # memory may be what was missing
            inbox.answer(asked, {"problem": _problem(InvalidRequest(f"The worker failed: {explain(error)}"))})

    def _answer(self, inbox: Inbox, asked: Asked) -> None:
        from deepvis.showing import show

        waited = time.monotonic() - asked.came
        view = _view(asked)
        network = self._network(asked.session)
        image = read_upload(asked.picture, FRAME_LIMITS)
        engine = self._engine(network)
        shown = show(engine, network.layers, view, image)
        if view.grow and view.layer:
            self._show_growth(shown, engine, network, view)
        shown.header["seconds"]["wait"] = round(waited, 4)
        inbox.answer(asked, shown.header, shown.pictures)

    def _show_growth(self, shown: "Shown", engine: "Engine", network: NetworkView, view: LiveView) -> None:
        layer = next(layer for layer in network.layers if layer.name == view.layer)
        growing = self._growth.look(engine, layer, view.unit)
        shown.header["grown"] = {name: getattr(growing, name) for name in ("step", "steps", "done", "trouble")}
        if growing.png:
            shown.pictures["grown"] = growing.png

    def _network(self, session: LiveSession) -> NetworkView:
        if session.network not in self._networks:
            with self._runtime.ledger.sessions() as database:
                self._networks[session.network] = get_network(database, session.network)
        return self._networks[session.network]

    def _engine(self, network: NetworkView) -> "Engine":
        return cast("Engine", self._runtime.engines.engine(network.source, network.weights_hash))


def _view(asked: Asked) -> LiveView:
    try:
        return LiveView.model_validate(asked.view)
    except ValidationError as error:  # the web server is of another version
        raise InvalidRequest(f"The view is not one: {error.errors()[0]['msg']}.") from error


def _problem(error: DeepvisError) -> dict[str, str]:
    return {"slug": error.slug, "detail": error.detail, "remedy": error.remedy}
