"""Live sessions in Redis: who wants to look, and which worker serves them.

Frames and their answers are published and never stored (docs/decisions/live-frames-are-published.md): what is kept of a
session are two small keys, and both run out by themselves.

    deepvis:live:session:ID   what is looked at, and by whom; runs out when no frame comes for a while
    deepvis:live:claim:ID     the worker that serves it; runs out when that worker dies
"""

import secrets
from collections.abc import Iterator
from urllib.parse import urlsplit

from pydantic import Field
from redis import Redis
from redis.exceptions import RedisError

from broker.usable import REDIS
from core.errors import BadSetting, NotFound, NotReady
from core.settings import Settings
from core.specs import NETWORK_NAME, Spec

SESSION_SECONDS = 15.0
"""A session without a frame for so long is over: its page was closed, or its network lost."""
CLAIM_SECONDS = 3.0
"""A worker that does not say for so long that it serves a session has died."""
HINT_SECONDS = 2.0
"""Between two messages that ask for a worker for the same session."""
ANSWER_SECONDS = 2.0
"""What Redis may take for an answer."""
_PREFIX = "deepvis:live:"
BELL = f"{_PREFIX}bell"
"""The channel on which workers hear that a session was opened or closed."""


class LiveSession(Spec):
    """Somebody looks at a network."""

    id: str = Field(pattern=r"^[0-9a-f]{32}$")
    network: str = Field(pattern=NETWORK_NAME)
    owner: str


def connect(settings: Settings) -> Redis:
    """A client of the Redis that live frames go through; it connects when it first asks.

    Raises:
        BadSetting: there is none: the broker is no Redis, and no other is named.
    """
    url = settings.live_url or settings.broker_url
    if urlsplit(url).scheme not in REDIS:
        detail = "Live activations go through a Redis, and the message broker is none."
        raise BadSetting(detail, "Name one in DEEPVIS_LIVE_URL, for the web server and for live workers.")
    return Redis.from_url(
        url, socket_timeout=ANSWER_SECONDS, socket_connect_timeout=ANSWER_SECONDS, health_check_interval=10
    )


def frames_of(session_id: str) -> str:
    """The channel that a session's frames are published on."""
    return f"{_PREFIX}frames:{session_id}"


def session_of(channel: str) -> str:
    """The session whose frames are published on `channel`."""
    return channel.rpartition(":")[2]


def away(error: Exception) -> NotReady:
    """What is said when Redis does not answer."""
    return NotReady(f"The Redis of live activations does not answer ({error}).", "It is tried again.")


class LiveSessions:
    """The sessions of one Redis."""

    def __init__(self, client: Redis) -> None:
        self._redis = client

    # --- for viewers ---------------------------------------------------------------

    def open(self, network: str, owner: str) -> LiveSession:
        """A new session, which waits for a worker.

        Raises:
            NotReady: Redis does not answer.
        """
        session = LiveSession(id=secrets.token_hex(16), network=network, owner=owner)
        try:
            self._redis.set(_session(session.id), session.model_dump_json(), px=_ms(SESSION_SECONDS))
            self._redis.publish(BELL, b"")
        except RedisError as error:
            raise away(error) from error
        return session

    def find(self, session_id: str) -> LiveSession:
        """The session of that id.

        Raises:
            NotFound: it is over.
            NotReady: Redis does not answer.
        """
        try:
            found = self._redis.get(_session(session_id))
        except RedisError as error:
            raise away(error) from error
        if found is None:
            raise NotFound("This live session is over.", "Begin a new one.")
        return LiveSession.model_validate_json(found)

    def close(self, session_id: str) -> None:
        """End a session now; its worker hears of it at once.

        Raises:
            NotReady: Redis does not answer.
        """
        try:
            self._redis.delete(_session(session_id))
            self._redis.publish(BELL, b"")
        except RedisError as error:
            raise away(error) from error

    def needs_hint(self, session_id: str) -> bool:
        """Whether a worker should be asked for now; also keeps the session while none serves it."""
        self._redis.pexpire(_session(session_id), _ms(SESSION_SECONDS))
        return bool(self._redis.set(f"{_PREFIX}hint:{session_id}", b"", nx=True, px=_ms(HINT_SECONDS)))

    # --- for workers ----------------------------------------------------------------

    def all(self) -> Iterator[LiveSession]:
        """Every open session."""
        for key in self._redis.scan_iter(match=f"{_PREFIX}session:*", count=1000):
            if found := self._redis.get(key):
                yield LiveSession.model_validate_json(found)

    def claim(self, session_id: str, worker: str) -> bool:
        """Make `worker` the one that serves the session, or keep it so; False: another one is."""
        key, px = f"{_PREFIX}claim:{session_id}", _ms(CLAIM_SECONDS)
        if self._redis.set(key, worker, nx=True, px=px):
            return True
        if self._redis.get(key) != worker.encode():
            return False
        return bool(self._redis.pexpire(key, px))

    def unclaim(self, session_id: str, worker: str) -> None:
        """Let another worker than `worker` serve the session."""
        if self._redis.get(f"{_PREFIX}claim:{session_id}") == worker.encode():
            self._redis.delete(f"{_PREFIX}claim:{session_id}")

    def keep(self, session_id: str, *, alive: bool) -> bool:
        """Whether the session goes on; `alive`: a frame came lately, so it goes on for longer."""
        if alive:
            return bool(self._redis.pexpire(_session(session_id), _ms(SESSION_SECONDS)))
        return bool(self._redis.exists(_session(session_id)))


def _session(session_id: str) -> str:
    return f"{_PREFIX}session:{session_id}"


def _ms(seconds: float) -> int:
    return int(1000 * seconds)
