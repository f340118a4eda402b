"""A real RabbitMQ for tests: a node of its own on free ports, with its own cookie, that leaves nothing behind."""

import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.conftest import require_part
from tests.services import free_port, wait_until

BEHIND_WRAPPER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""Debian's program on the PATH becomes another user first, who may not write where tests do; this is what it calls."""


class RabbitMQ:
    """A broker that keeps its queues in `folder`; survives `stop`, `kill` and `start`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}//"
        self._names_port = free_port()
        self._names: subprocess.Popen[bytes] | None = None
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the node, and the service of node names that it needs: started by the node, it would outlive it."""
        program = require_part("rabbitmq-server")
        with (self.folder / "output").open("ab") as log:
            if self._names is None:
                names = ["epmd", "-address", "127.0.0.1", "-port", str(self._names_port)]
                self._names = subprocess.Popen(names, stdout=log, stderr=log)
            self.process = subprocess.Popen(
                [BEHIND_WRAPPER if BEHIND_WRAPPER.exists() else program],
                env=self._environment(),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(self.answers, 90, "an answer of RabbitMQ")

    def _environment(self) -> dict[str, str]:
        plugins, config = self.folder / "plugins", self.folder / "rabbitmq.conf"
        plugins.write_text("[].")
        config.write_text("log.console = true\n")
        places = {"MNESIA_BASE": self.folder / "mnesia", "LOG_BASE": self.folder / "log"}
        files = {"ENABLED_PLUGINS_FILE": plugins, "CONFIG_FILE": config, "CONF_ENV_FILE": self.folder / "none"}
        ports = {"NODE_PORT": self.port, "DIST_PORT": free_port(), "NODE_IP_ADDRESS": "127.0.0.1"}
        own = {"NODENAME": f"deepvis{self.port}@localhost", **places, **files, **ports}
        erlang = {"HOME": self.folder, "ERL_EPMD_PORT": self._names_port, "ERL_EPMD_ADDRESS": "127.0.0.1"}
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ_", "ERL_"))}
        named = {f"RABBITMQ_{name}": value for name, value in own.items()} | erlang
        return plain | {name: str(value) for name, value in named.items()}

    def answers(self) -> bool:
        """Whether it speaks AMQP: to a greeting that it does not know it answers with the version it wants."""
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as sock:
            sock.settimeout(5)
            sock.sendall(b"AMQP\x00\x00\x00\x00")
            return sock.recv(8).startswith(b"AMQP")
        return False

    def stop(self) -> None:
        """In order, as a package update does."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        self._end(signal.SIGKILL)

    def close(self) -> None:
        self.kill()
        if self._names:
            self._names.kill()
            self._names.wait()

    def _end(self, number: signal.Signals) -> None:
        if self.process:
            os.killpg(self.process.pid, number)
            self.process.wait(60)
            self.process = None


@contextmanager
def running_rabbitmq() -> Iterator[RabbitMQ]:
    """Skips the test when RabbitMQ is not installed."""
    with tempfile.TemporaryDirectory(prefix="deepvis-rabbitmq-", ignore_cleanup_errors=True) as folder:
        broker = RabbitMQ(Path(folder))
        try:
            broker.start()
            yield broker
        finally:
            broker.close()
