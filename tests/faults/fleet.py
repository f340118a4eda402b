"""Workers that one fault after another is tried on, so that few processes are started for many tests.

Their database is PostgreSQL, their network the bundled demo. Each test begins an atlas of the whole network with
pictures that nobody has made yet, does something bad in the middle of it, and looks at the aftermath.
"""

import os
import re
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

import psutil
from sqlalchemy import ColumnElement, func, select, text

from core.specs import AtlasSpec, PixelMethod, Recipe
from db.models import AtlasState, Shard, ShardState
from tests.integration.test_workers import plan_by_hand
from tests.services import Installation, Postgres, Worker, wait_until

SHARD_SECONDS = 0.2
LEASE_SECONDS = 3
STEPS = 3
"""Of an ascent: with these an atlas of the whole network takes two seconds."""


class Broker(Protocol):
    """A Redis or a RabbitMQ."""

    url: str


class Fleet:
    """An installation and its workers."""

    def __init__(self, home: Path, broker: Broker, postgres: Postgres, **settings: object) -> None:
        quick = {"shard_seconds": SHARD_SECONDS, "lease_seconds": LEASE_SECONDS, **settings}
        self.installation = Installation(home, broker.url, database_url=postgres.url, **quick)
        self.broker = broker
        self.postgres = postgres
        self.workers: list[Worker] = []  # also those that have ended
        self._read: dict[Worker, int] = {}  # how much of its log was there before the test
        self._atlases = 0

    def close(self) -> None:
        for worker in self.workers:
            worker.__exit__(None, None, None)
        self.installation.close()

    # --- workers -----------------------------------------------------------------------

    @property
    def alive(self) -> list[Worker]:
        return [worker for worker in self.workers if worker.process.poll() is None]

    def muster(self, count: int = 2) -> list[Worker]:
        """The workers that live: `count` of them, all ready; the first muster looks at the network."""
        for _ in range(count - len(self.alive)):
            self.hire()
        for worker in self.alive:
            worker.wait_ready(120)
            wait_until(lambda worker=worker: lives(child(worker)), 60, "a child in place of the one lost")
        self.installation.wait_described(seconds=120)
        return self.alive

    def hire(self, module: str = "workers.main", env: Mapping[str, str] | None = None) -> Worker:
        """One worker more, with something added to its environment."""
        worker = Worker(self.installation.env | dict(env or {}), module)
        self.workers.append(worker)
        return worker

    def holder(self, shard: Shard) -> Worker:
        """The worker that holds the shard's lease, or held it last."""
        pid = int(str(shard.lease_worker).split(":")[1])
        return next(worker for worker in self.workers if pid in worker.children())

    def catch(self, worker: Worker | None = None, kind: str = "") -> tuple[Worker, Shard]:
        """Freeze the worker (any) and its child in the middle of a shard (of a kind), holding nothing but its lease.

        Frozen in the middle of a transaction it would hold the database's locks too, until PostgreSQL ends that.
        """
        caught: list[tuple[Worker, Shard]] = []

        def catch() -> bool:
            for shard in (each for each in self.running() if kind in ("", each.kind)):
                holder = self.holder(shard)
                if worker in (None, holder) and self._caught(holder, shard):
                    caught.append((holder, shard))
                    return True
            return False

        wait_until(catch, 60, "a worker in the middle of a shard")
        return caught[0]

    def _caught(self, worker: Worker, shard: Shard) -> bool:
        freeze(*processes(worker))
        leased = (Shard.state == ShardState.RUNNING, Shard.lease_token == shard.lease_token)
        mine = select(Shard.id).where(Shard.id == shard.id, *leased)
        if self.installation.scalar(mine) and not self.in_transaction(worker):
            return True
        thaw(*processes(worker))
        return False

    def freeze_idle(self, worker: Worker) -> None:
        """Freeze a worker and its child while it holds no lock."""

        def frozen() -> bool:
            freeze(*processes(worker))
            if busy := self.in_transaction(worker):
                thaw(*processes(worker))
            return not busy

        wait_until(frozen, what="a frozen worker that holds no lock")

    def in_transaction(self, worker: Worker) -> bool:
        """Whether the database is at something for the worker, or waits for it."""
        ports = [link.laddr.port for link in psutil.Process(child(worker)).net_connections("tcp")]
        at_it = "SELECT count(*) FROM pg_stat_activity WHERE client_port = ANY(:ports) AND state <> 'idle'"
        return bool(self.installation.scalar(text(at_it).bindparams(ports=ports)))

    def running(self) -> list[Shard]:
        return self.all_shards(Shard.state == ShardState.RUNNING)

    def all_shards(self, *which: ColumnElement[bool]) -> list[Shard]:
        """Of every atlas."""
        with self.installation.sessions() as session:
            return list(session.scalars(select(Shard).where(*which)))

    # --- atlases -----------------------------------------------------------------------

    def wish(self, *, steps: int = STEPS, **changes: object) -> AtlasSpec:
        """The whole network with a recipe of its own, whose pictures nobody has made yet."""
        self._atlases += 1
        method = PixelMethod(decay=self._atlases * 1e-4)
        recipe = Recipe(name=f"fault-{self._atlases}", steps=steps, method=method)
        return AtlasSpec(network="demo", recipes=(recipe,), **changes)

    def create(self, **changes: object) -> str:
        """An atlas of `wish`; its id."""
        return self.installation.create(self.wish(**changes))

    def begin(self) -> str:
        """An atlas of the whole network, of which some shards are done and most are not."""
        atlas_id, _ = self.plan_by_hand()  # of so many shards on a machine of any speed
        wait_until(lambda: self.done(atlas_id) >= 2, 120, "some shards")
        assert self.installation.atlas(atlas_id).state == AtlasState.RUNNING
        return atlas_id

    def plan_by_hand(self, **options: object) -> tuple[str, list[int]]:
        """An atlas of the whole network, planned without a worker, and its 22 shards; nobody has been told of them."""
        atlas_id = self.installation.create(self.wish(), send=False, **options)
        plan_by_hand(self.installation, atlas_id, shard_seconds=0.045)
        return atlas_id, [shard.id for shard in self.installation.shards(atlas_id)]

    def done(self, atlas_id: str) -> int:
        """How many of its shards are done."""
        counted = select(func.count()).where(Shard.atlas_id == atlas_id, Shard.state == ShardState.DONE)
        return int(self.installation.scalar(counted))

    # --- the log -----------------------------------------------------------------------

    def mark(self) -> None:
        """What is in the logs now belongs to earlier tests."""
        self._read = {worker: len(worker.log) for worker in self.workers}

    def log(self, worker: Worker) -> str:
        return worker.log[self._read.get(worker, 0) :]

    def said(self, pattern: str) -> list[str]:
        """The lines that some worker has logged in this test and that match."""
        lines = [line for worker in self.workers for line in self.log(worker).splitlines()]
        return [line for line in lines if re.search(pattern, line)]

    def begun(self) -> list[int]:
        """The shards whose computing has begun in this test, as often as it has, in the order of the logs' times."""
        return [int(re.findall(r"shard (\d+) ", line)[0]) for line in sorted(self.said(r"shard \d+ .* begins"))]

    def wait_said(self, pattern: str, seconds: float = 60.0) -> None:
        wait_until(lambda: self.said(pattern), seconds, f"a line of the log like {pattern!r}")


def freeze(*pids: int) -> None:
    """Stop the processes where they are, and wait until they are."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    processes = [psutil.Process(pid) for pid in pids]
    wait_until(lambda: all(p.status() == psutil.STATUS_STOPPED for p in processes), what="frozen processes")


def thaw(*pids: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def lives(pid: int) -> bool:
    """Whether the process is there, and not dead without its parent's having noticed."""
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def child(worker: Worker) -> int:
    """The process that computes."""
    return worker.children()[-1]


def processes(worker: Worker) -> tuple[int, int]:
    """Parent and child."""
    return worker.process.pid, child(worker)


@contextmanager
def trial(fleet: Fleet) -> Iterator[Fleet]:
    """Two workers that are well, before; and afterwards, whatever has happened. Pytest shows the logs if it failed."""
    fleet.muster()
    fleet.mark()
    try:
        yield fleet
    finally:
        if fleet.postgres.process is None:
            fleet.postgres.start()
        for worker in fleet.alive:
            thaw(*processes(worker))
        for worker in fleet.workers:
            print(f"--- log of worker {worker.process.pid}\n{fleet.log(worker)}")
