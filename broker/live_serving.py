"""The workers' end: the latest frame of each viewer, taken in turn, and answers back.

with Inbox(client, worker_id) as inbox:
    asked = inbox.take(0.25)
    inbox.answer(asked, {...}, {...})
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from redis import Redis
from redis.client import PubSub
from redis.exceptions import RedisError

from broker.live import BELL, LiveSession, LiveSessions, frames_of, session_of
from broker.packets import pack, unpack

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
"""Between two looks for sessions that nobody serves, and for those that are over."""
WAIT_SECONDS = 0.25
SHY_SECONDS = 0.1
"""For each viewer that it serves, a worker leaves a new one so long to workers with fewer."""


@dataclass(frozen=True)
class Asked:
    """A frame that waits for its answer."""

    session: LiveSession
    frame: str
    reply: str  # channel
    view: Mapping[str, Any]
    picture: bytes
    came: float  # `time.monotonic()`


class Inbox(threading.Thread):
    """Claims sessions, and keeps the latest frame of each: an older one that was not taken yet is dropped."""

    def __init__(self, client: Redis, worker_id: str) -> None:
        super().__init__(name="live inbox", daemon=True)
        self._redis = client
        self._sessions = LiveSessions(client)
        self._worker = worker_id
        self._served: OrderedDict[str, LiveSession] = OrderedDict()  # the one served last at the end
        self._frames: dict[str, Asked] = {}
        self._alive: set[str] = set()  # a frame came since the last look
        self._since: dict[str, float] = {}  # when sessions that we do not serve were first seen
        self._look_at = 0.0
        self._changed = threading.Condition()
        self._over = False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over = True
        self.join(5)

    @property
    def viewers(self) -> list[LiveSession]:
        """Whom this worker serves."""
        with self._changed:
            return list(self._served.values())

    def take(self, seconds: float) -> Asked | None:
        """The frame of whoever waits and was served longest ago; None: there is none within `seconds`."""
        with self._changed:
            self._changed.wait_for(lambda: self._frames, seconds)
            for session_id in self._served:
                if session_id in self._frames:
                    self._served.move_to_end(session_id)
                    return self._frames.pop(session_id)
        return None

    def answer(self, asked: Asked, header: Mapping[str, Any], parts: Mapping[str, bytes] | None = None) -> None:
        """Send an answer; nobody may wait for it any more."""
        try:
            self._redis.publish(asked.reply, pack({"frame": asked.frame, **header}, parts))
        except RedisError as error:
            log.warning("live session %s: an answer is lost: %s", asked.session.id, error)

    # --- the thread ---------------------------------------------------------------------

    def run(self) -> None:
        while not self._over:
            try:
                self._serve()
            except (RedisError, OSError) as error:
                log.warning("live frames: Redis does not answer, again: %s", error)
                time.sleep(LOOK_SECONDS)

    def _serve(self) -> None:
        with self._redis.pubsub(ignore_subscribe_messages=True) as channel:  # type: ignore[no-untyped-call]  # redis has no types here
            channel.subscribe(BELL, *(frames_of(session.id) for session in self.viewers))
            while not self._over:
                if time.monotonic() >= self._look_at:
                    self._look_at = time.monotonic() + LOOK_SECONDS
                    self._look(channel)
                if message := channel.get_message(timeout=WAIT_SECONDS):
                    self._hear(message["channel"].decode(), message["data"])
            for session in self.viewers:
                self._drop(channel, session)

    def _hear(self, channel: str, data: bytes) -> None:
        if channel == BELL:
            self._look_at = 0.0
            return
        with self._changed:
            session = self._served.get(session_of(channel))
            if session is not None:
                header, parts = unpack(data)
                told = header["frame"], header["reply"], header["view"], parts["picture"]
                self._frames[session.id] = Asked(session, *told, time.monotonic())
                self._alive.add(session.id)
                self._changed.notify_all()

    def _look(self, channel: PubSub) -> None:
        """Keep what is claimed, let go of what is over, and take what nobody serves."""
        with self._changed:
            alive, self._alive = self._alive, set()
        for session in self.viewers:
            goes_on = self._sessions.keep(session.id, alive=session.id in alive)
            if not goes_on or not self._sessions.claim(session.id, self._worker):
                self._drop(channel, session)
        served = {session.id for session in self.viewers}
        unserved = [session for session in self._sessions.all() if session.id not in served]
        self._since = {s.id: self._since.get(s.id, time.monotonic()) for s in unserved}
        for session in unserved:
            if self._is_our_turn(session.id) and self._sessions.claim(session.id, self._worker):
                self._add(channel, session)

    def _is_our_turn(self, session_id: str) -> bool:
        """Whoever serves fewer viewers is quicker to take a new one."""
        return time.monotonic() - self._since[session_id] >= SHY_SECONDS * len(self.viewers)

    def _add(self, channel: PubSub, session: LiveSession) -> None:
        with self._changed:
            self._served[session.id] = session
            self._served.move_to_end(session.id, last=False)
        channel.subscribe(frames_of(session.id))
        log.info("live session %s of %s: served", session.id, session.network)

    def _drop(self, channel: PubSub, session: LiveSession) -> None:
        channel.unsubscribe(frames_of(session.id))  # type: ignore[no-untyped-call]  # as above
        with self._changed:
            self._served.pop(session.id, None)
            self._frames.pop(session.id, None)
        self._sessions.unclaim(session.id, self._worker)
        log.info("live session %s of %s: no longer served", session.id, session.network)
