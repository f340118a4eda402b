"""What a worker's child has at hand from its start to its end."""

import logging
import os
import secrets
import socket
import threading
import time
from functools import cached_property
from importlib.metadata import version

from celery import Celery

from broker.app import queues_of
from broker.messages import send_describe
from core.live import LIVE_QUEUE
from core.logs import identify
from core.settings import Settings
from db import networks as network_commands
from db.workers import WorkerBeat
from store import open_store
from workers.committer import Committer, describe_work
from workers.engines import MakeEngines
from workers.heartbeat import Heartbeat
from workers.held import HeldLeases
from workers.housekeeping import Housekeeper
from workers.ledger import Ledger
from workers.metrics import WorkerMetrics
from workers.metrics_server import MetricsServer
from workers.reasons import first_line
from workers.stopping import StopFlag

log = logging.getLogger(__name__)

CATALOGUE_RETRY_SECONDS = 5.0


class Runtime:
    """Database, store, engines and background threads of one child; `close` ends them in order."""

    def __init__(
        self, settings: Settings, celery: Celery, stop: StopFlag, make_engines: MakeEngines, *, live: bool = False
    ) -> None:
        self.settings = settings
        self.live = live
        self.viewers = 0  # that it serves now, where it is a live worker
        self.celery = celery
        self.stop = stop
        self.version = version("deepvis")
        self.store = open_store(settings.resolved_store_url)
        self.engines = make_engines(settings, self.store)
        worker_id = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self.ledger = Ledger(settings, worker_id, self.engines.kind, stop)
        identify(worker=worker_id)
        self.held = HeldLeases(stop)
        self.housekeeper = Housekeeper(settings, self.ledger, celery, self.engines.kind)
        self.heartbeat = Heartbeat(settings, self.ledger, self.held, self._beat, self.housekeeper.give)
        self.metrics = WorkerMetrics()
        self.metrics_server = MetricsServer(settings, self.metrics.registry)
        self.committer = Committer(self.ledger, self.store, self.held, self.metrics, self.housekeeper.wake)
        self.doing = ""  # what it does that is no shard, for people
        self._closing = threading.Event()

    def start(self) -> None:
        """Begin to beat, make the networks known, and say what this worker is."""
        self.heartbeat.start()
        self.housekeeper.start()
        threading.Thread(target=self._announce_networks, name="catalogue", daemon=True).start()
        self.metrics.introduce(id=self.ledger.worker_id, device=self.engines.device_name, **self._versions)
        self.metrics_server.start()
        versions = " ".join(f"{name}={number}" for name, number in self._versions.items())
        log.info(
            "deepvis worker ready: device=%s threads=%d queues=%s %s id=%s pid=%d",
            self.engines.device_name,
            self.engines.threads,
            ",".join(self.queues),
            versions,
            self.ledger.worker_id,
            os.getpid(),
        )

    def close(self) -> None:
        """Commit what is finished, then say goodbye."""
        self._closing.set()
        self.committer.close()
        self.housekeeper.stop()
        self.heartbeat.stop()
        self.metrics_server.close()
        self.ledger.close()

    @property
    def queues(self) -> tuple[str, ...]:
        """Where this worker's messages come from."""
        return (LIVE_QUEUE,) if self.live else queues_of(self.engines.kind)

    @cached_property
    def _versions(self) -> dict[str, str]:
        return {"deepvis": self.version, **self.engines.versions, "celery": version("celery")}

    def _beat(self) -> WorkerBeat:
        busy = [describe_work(held.lease) for held in self.held.all()]
        busy += [f"live, viewers: {self.viewers}"] if self.viewers else []
        return WorkerBeat(
            id=self.ledger.worker_id,
            host=socket.gethostname(),
            pid=os.getpid(),
            device=self.engines.device_name,
            device_kind=self.engines.kind,
            queues=",".join(self.queues),
            versions=self._versions,
            activity=("; ".join(busy) or self.doing)[:200] or "idle",
        )

    def _announce_networks(self) -> None:
        """Make the catalogue known; ask for descriptions of the networks that come with this installation."""
        while not self._closing.is_set():
            try:
                self._sync_catalogue()
            except Exception as error:
                log.warning("the catalogue of networks is not stored yet: %s", first_line(error))
                time.sleep(CATALOGUE_RETRY_SECONDS)
            else:
                return

    def _sync_catalogue(self) -> None:
        sources = self.engines.catalogue()
        with self.ledger.sessions.begin() as session:
            network_commands.sync_catalogue(session, sources)
        for source in sources:
            if source.kind != "torchvision":
                with self.ledger.sessions.begin() as session:
                    wanted = network_commands.request_description(session, source.name)
                if wanted:
                    send_describe(self.celery, source.name)
