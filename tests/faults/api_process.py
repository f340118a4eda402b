"""A real `deepvis api` process, and a client of it."""

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Self

import httpx

from core.specs import AtlasSpec
from tests.conftest import ROOT
from tests.services import Installation, free_port, wait_until


class ApiProcess:
    """The web server of an installation; survives `kill` and `start`, on the same port."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = Path(tempfile.mkstemp(prefix="deepvis-api-", suffix=".log")[1])
        self._process: subprocess.Popen[bytes] | None = None
        self._client = httpx.Client(base_url=self.url, timeout=30)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.kill()
        self._client.close()
        print(f"--- log of the API\n{self._log.read_text()}")
        self._log.unlink()

    def start(self) -> None:
        command = [sys.executable, "-m", "cli.main", "api", "--port", str(self.port)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=ROOT, env=self._installation.env, stdout=log, stderr=log, start_new_session=True
            )
        wait_until(self._answers, 60, "an answer of the API")

    def kill(self) -> None:
        """SIGKILL to every process of it."""
        if self._process:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def submit(self, wish: AtlasSpec) -> str:
        """Ask for an atlas; its id."""
        body = {"network": wish.network, "recipes": [recipe.model_dump(mode="json") for recipe in wish.recipes]}
        answer = self._client.post("/api/v1/atlases", json=body)
        assert answer.is_success, answer.text
        return str(answer.json()["id"])

    def state(self, atlas_id: str) -> str:
        return str(self._client.get(f"/api/v1/atlases/{atlas_id}").raise_for_status().json()["state"])

    def _answers(self) -> bool:
        with suppress(httpx.TransportError):
            return self._client.get("/healthz").is_success
        return False
