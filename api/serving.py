"""gunicorn's worker of threads, which gives no client more than its time to send a request.

gunicorn waits for ever for the rest of a request once a first byte of it came, in one of a few threads: as many
connections with one byte each would be the end of the service. Here whoever has not sent all of it in time is taken to
have said everything; the time is counted for the request, not for its parts, so that a byte now and then does not help.
What is sent to a client, such as the events of a page, may take as long as it takes.
"""

import socket
import time
from contextlib import suppress
from typing import Any

from gunicorn.workers.gthread import TConn, ThreadWorker

from core.settings import load_settings


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """For gunicorn's option `--worker-class`."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._seconds = load_settings().request_seconds
        self._sending: dict[TConn, float] = {}

    def handle(self, conn: TConn) -> Any:
        """Read a request and answer it, in a thread."""
        self._sending[conn] = time.monotonic() + self._seconds
        try:
            return super().handle(conn)
        finally:
            self._sending.pop(conn, None)

    def handle_request(self, req: Any, conn: TConn) -> Any:
        """Answer the request, whose head was read; the time goes on only for its body."""
        names = {name.upper() for name, _ in req.headers}
        if not names & {"CONTENT-LENGTH", "TRANSFER-ENCODING"}:
            self._sending.pop(conn, None)
        return super().handle_request(req, conn)

    def murder_pending(self) -> None:
        """Called every second, by the thread that accepts: end what takes too long, too."""
        super().murder_pending()
        now = time.monotonic()
        for conn, until in self._sending.copy().items():
            if now >= until and self._sending.pop(conn, 0.0):
                with suppress(OSError):  # it ended meanwhile
                    conn.sock.shutdown(socket.SHUT_RD)  # its thread reads the end of the request
