"""GET /metrics of one worker, on a small web server of its own: off unless DEEPVIS_METRICS_PORT is set.

Several workers of one machine take successive ports, in the order in which they start.
"""

import hmac
import logging
import socket
import threading
from collections.abc import Callable, Iterable
from socketserver import TCPServer
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

from core.errors import BadSetting
from core.listening import LEAST_TOKEN_CHARACTERS, is_loopback
from core.settings import Settings

log = logging.getLogger(__name__)

MOST_PORTS = 16
"""Ports that are tried from the first one on."""
READ_SECONDS = 10

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def check_metrics(settings: Settings) -> None:
    """Refuse to serve metrics beyond this machine without a token that cannot be guessed.

    Raises:
        BadSetting: that is what the settings ask for.
    """
    token = settings.metrics_token.get_secret_value()
    if settings.metrics_port and token and len(token) < LEAST_TOKEN_CHARACTERS:
        detail = f"DEEPVIS_METRICS_TOKEN is shorter than {LEAST_TOKEN_CHARACTERS} characters and can be guessed."
        raise BadSetting(detail, "Make one with: openssl rand -hex 32.")
    if settings.metrics_port and not token and not is_loopback(settings.metrics_host):
        raise BadSetting(
            f"Serving metrics on {settings.metrics_host} lets other machines in, and no token for them is set.",
            "Set DEEPVIS_METRICS_TOKEN to a long random token, or DEEPVIS_METRICS_HOST to 127.0.0.1.",
        )


class _Server(ThreadingWSGIServer):
    def server_bind(self) -> None:
        """As Python's own, which also asks for the name of its address, and may wait long for an answer."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    """Waits a while for a request and no longer; logs at a level that nobody usually sees."""

    timeout = READ_SECONDS

    def address_string(self) -> str:
        return str(self.client_address[0])  # no look-up of names

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name it has in the base class
        log.debug("%s %s", self.address_string(), format % args)


class MetricsServer:
    """Serves a registry until `close`. Without a port to be had the worker goes on, and its log says so."""

    def __init__(self, settings: Settings, registry: CollectorRegistry) -> None:
        self._settings = settings
        self._app = guarded(make_wsgi_app(registry), settings.metrics_token.get_secret_value())
        self._server: _Server | None = None

    @property
    def port(self) -> int | None:
        """The port it listens on, if it does."""
        return self._server.server_port if self._server else None

    def start(self) -> None:
        """Listen on the first free port, if metrics are wanted."""
        if not self._settings.metrics_port:
            return
        host, first = self._settings.metrics_host, self._settings.metrics_port
        self._server = self._listen(range(first, min(first + MOST_PORTS, 65536)))
        if self._server is not None:
            threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True).start()
            log.info("metrics at http://%s:%d/metrics", f"[{host}]" if ":" in host else host, self.port)

    def _listen(self, ports: range) -> _Server | None:
        reason = ""
        for port in ports:
            try:
                return make_server(self._settings.metrics_host, port, self._app, self._kind(), handler_class=_Handler)
            except OSError as error:
                reason = error.strerror or str(error)
        log.warning("no metrics: ports %d to %d cannot be used (%s)", ports[0], ports[-1], reason)
        return None

    def _kind(self) -> type["_Server"]:
        return _Server6 if ":" in self._settings.metrics_host else _Server

    def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()


def guarded(app: App, token: str) -> App:
    """`app` at /metrics and nowhere else; with a token, for those who send it."""

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/metrics":
            return _refuse(start_response, "404 Not Found", [])
        sent = environ.get("HTTP_AUTHORIZATION", "")
        if token and not hmac.compare_digest(sent.encode(), f"Bearer {token}".encode()):
            return _refuse(start_response, "401 Unauthorized", [("WWW-Authenticate", "Bearer")])
        return app(environ, start_response)

    return answer


def _refuse(start_response: Callable[..., Any], status: str, headers: list[tuple[str, str]]) -> Iterable[bytes]:
    start_response(status, [("Content-Type", "text/plain; charset=utf-8"), *headers])
    return [f"{status}\n".encode()]
