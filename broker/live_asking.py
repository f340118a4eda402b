"""The viewers' end: a frame out, its answer back, one at a time for each viewer."""

import logging
import secrets
import threading
import time
from concurrent.futures import Future
from typing import Any

from redis import Redis
from redis.client import PubSub
from redis.exceptions import RedisError

from broker.live import away, frames_of
from broker.packets import pack, unpack
from core.errors import NoLiveWorker, NotReady

log = logging.getLogger(__name__)

LISTEN_SECONDS = 1.0
RETRY_SECONDS = 0.5
WORKER_SECONDS = 1.0
"""A frame waits so long for somebody to serve its session."""


class Asker:
    """Publishes frames and hands their answers out; one for a process, whose thread starts with the first frame."""

    def __init__(self, client: Redis) -> None:
        self._redis = client
        self._channel = f"deepvis:live:answers:{secrets.token_hex(8)}"
        self._waiting: dict[str, Future[bytes]] = {}  # by the frame's id
        self._listening = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._over = False

    def ask(self, session_id: str, view: dict[str, Any], picture: bytes, seconds: float) -> bytes:
        """The answer to a frame: a packet of `broker.packets`.

        Raises:
            NoLiveWorker: nobody serves the session.
            NotReady: Redis does not answer, or the worker not within `seconds`.
        """
        self._listen(seconds)
        frame, answer = secrets.token_hex(8), Future[bytes]()
        self._waiting[frame] = answer
        try:
            header = {"frame": frame, "reply": self._channel, "view": view}
            self._publish(frames_of(session_id), pack(header, {"picture": picture}))
            return answer.result(seconds)
        except RedisError as error:
            raise away(error) from error
        except TimeoutError:
            detail = f"The live worker did not answer within {seconds:g} s."
            raise NotReady(detail, "It may still be loading the network, or have died; it is asked again.") from None
        finally:
            self._waiting.pop(frame, None)

    def close(self) -> None:
        """End the thread."""
        self._over = True
        if self._thread is not None:
            self._thread.join(2 * LISTEN_SECONDS)

    def _publish(self, channel: str, packet: bytes) -> None:
        """To the worker that serves the session; one may be about to."""
        patience = time.monotonic() + WORKER_SECONDS
        while not self._redis.publish(channel, packet):
            if time.monotonic() > patience:
                remedy = "One is asked for; `deepvis worker --live` starts one."
                raise NoLiveWorker("No live worker serves this session.", remedy)
            time.sleep(RETRY_SECONDS / 10)

    # --- the thread -------------------------------------------------------------------

    def _listen(self, seconds: float) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="live answers", daemon=True)
                self._thread.start()
        if not self._listening.wait(seconds):
            raise NotReady("The Redis of live activations does not answer.", "It is tried again.")

    def _run(self) -> None:
        while not self._over:
            try:
                with self._redis.pubsub() as channel:  # type: ignore[no-untyped-call]  # redis has no types here
                    channel.subscribe(self._channel)
                    self._hear(channel)
            except (RedisError, OSError) as error:
                self._listening.clear()
                log.warning("live answers: %s", error)
                time.sleep(RETRY_SECONDS)

    def _hear(self, channel: PubSub) -> None:
        while not self._over:
            message = channel.get_message(timeout=LISTEN_SECONDS)
            if message and message["type"] == "subscribe":
                self._listening.set()
            elif message and message["type"] == "message":
                self._hand_out(message["data"])

    def _hand_out(self, data: bytes) -> None:
        header, _ = unpack(data)
        answer = self._waiting.pop(header["frame"], None)
        if answer is not None:  # else nobody waits for it any more
            answer.set_result(data)
