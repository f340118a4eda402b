"""The service under load: a plan of a million unit-images, and 200 workers whose computation is a sleep.

Everything else is real: PostgreSQL (durable, as installed), Redis (append-only file), a folder of pictures, the web
server, Celery, leases, commits. Nothing leaves this machine. Two tables are printed: planning, with the planner's
memory; and, with all workers at work, how busy they are and how quickly the web server answers.
"""

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
from sqlalchemy import func, select

from bench import crowd
from bench.sleepers import total_slept
from bench.timing import heading
from broker.app import make_celery
from broker.messages import send_plan
from core.settings import Settings, load_settings
from core.specs import AtlasSpec
from db import atlases, tallies, workers
from db.migrate import upgrade
from db.models import Atlas, Shard, ShardState, Worker
from db.session import Sessions, make_engine, make_sessions
from store import open_store
from tests.services import free_port, running_postgres, running_redis

WORKERS = 200
IMAGES = 1_000_000
SHARD_SECONDS = 10
WINDOW_SECONDS = 120
POSTGRES = ("-c", "fsync=on", "-c", "max_connections=650", "-c", "shared_buffers=512MB")


def run(count: int = WORKERS, images: int = IMAGES, window_seconds: float = WINDOW_SECONDS) -> None:
    """Prints everything."""
    heading(f"The service with {count} workers that sleep, {images:,} unit-images")
    with tempfile.TemporaryDirectory(prefix="deepvis-bench-") as home, service(Path(home)) as bench:
        with bench.sessions.begin() as session:
            crowd.describe(session)
        with fleet(bench, 1):
            small = planned(bench, crowd.spec(images // 10))
            with bench.sessions.begin() as session:
                atlases.request_cancel(session, small)
                layer = crowd.fill_last_layer(session, open_store(bench.settings.resolved_store_url))
            atlas_id = planned(bench, crowd.spec(images))
        with fleet(bench, count) as slept, web(bench) as client:
            _start(bench, count)
            _watch(bench, client, slept, Watched(atlas_id, layer, count, window_seconds))


@dataclass(frozen=True)
class Bench:
    """What the parts of the bench share."""

    home: Path
    settings: Settings
    env: dict[str, str]
    sessions: Sessions


@dataclass(frozen=True)
class Watched:
    """What is watched, and for how long."""

    atlas_id: str
    layer: str
    workers: int
    seconds: float


@contextlib.contextmanager
def service(home: Path) -> Iterator[Bench]:
    """PostgreSQL, Redis and a folder of pictures."""
    with running_postgres(*POSTGRES) as database_url, running_redis() as redis:
        fields = {
            "home": home, "database_url": database_url, "broker_url": redis.url, "device": "cpu",
            "shard_seconds": SHARD_SECONDS, "log_level": "WARNING", "port": free_port(),
            "requests_per_minute": 100_000,
        }  # fmt: skip
        settings = load_settings(**{name: value for name, value in fields.items() if name in Settings.model_fields})
        upgrade(settings.resolved_database_url)
        env = {**os.environ, **{f"DEEPVIS_{name.upper()}": str(value) for name, value in fields.items()}}
        engine = make_engine(settings.resolved_database_url)
        try:
            yield Bench(home, settings, env, make_sessions(engine))
        finally:
            engine.dispose()


@contextlib.contextmanager
def fleet(bench: Bench, count: int, speed: float = 1.0) -> Iterator[Path]:
    """Workers that sleep, so many times less than a real one computes; the file in which they add up for how long."""
    slept = bench.home / f"slept-{count}"
    slept.write_bytes(bytes(8 * count))
    command = [sys.executable, "-m", "bench.sleepers", str(count), str(slept), str(speed)]
    with (bench.home / "workers.log").open("ab") as log:
        process = subprocess.Popen(command, env=bench.env, stdout=log, stderr=log)
    try:
        yield slept
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def web(bench: Bench) -> Iterator[httpx.Client]:
    """The web server, and a client of it."""
    with (bench.home / "web.log").open("ab") as log:
        process = subprocess.Popen([sys.executable, "-m", "cli", "api"], env=bench.env, stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=bench.settings.resolved_url, timeout=30, trust_env=False) as client:
            wait(lambda: _answers(client), 60, "the web server")
            yield client
    finally:
        process.kill()
        process.wait()


def _answers(client: httpx.Client) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return client.get("/healthz").is_success
    return False


def wait(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} did not come within {seconds:.0f} s")
        time.sleep(0.5)


# --- at work -------------------------------------------------------------------------


def _start(bench: Bench, count: int) -> None:
    started = time.monotonic()
    wait(lambda: alive(bench) >= count, 600, "every worker")
    print(f"{count} workers alive after {time.monotonic() - started:.0f} s")
    wait(lambda: _running(bench) >= 0.95 * count, 600, "a shard for every worker")
    print(f"all at work after {time.monotonic() - started:.0f} s")
    time.sleep(2 * SHARD_SECONDS)  # past the start, at which all of them ask at once


def _watch(bench: Bench, client: httpx.Client, slept: Path, watched: Watched) -> None:
    start, before_done, used = time.monotonic(), done(bench, watched.atlas_id), processor_seconds()
    before = total_slept(slept)
    progress: list[float] = []
    pages: list[float] = []
    while time.monotonic() - start < watched.seconds:
        progress += [_timed(client, f"/api/v1/atlases/{watched.atlas_id}/progress") for _ in range(5)]
        pages.append(_timed(client, f"/networks/{crowd.NAME}/layers/{watched.layer}"))
        time.sleep(0.5)
    elapsed = time.monotonic() - start
    busy = (total_slept(slept) - before) / (elapsed * watched.workers)
    parts = {part: (seconds - used[part]) / elapsed for part, seconds in processor_seconds().items()}
    rate = (done(bench, watched.atlas_id) - before_done) / elapsed
    print(f"over {elapsed:.0f} s: workers busy {busy:.1%}, {rate:.1f} shards/s")
    print(f"processors in use: {', '.join(f'{part} {share:.2f}' for part, share in parts.items())}")
    print(f"memory used {psutil.virtual_memory().used / 2**30:.1f} GiB")
    for name, seconds in (("progress of the atlas", progress), (f"page of {crowd.UNITS} units", pages)):
        print(f"{name}: {_percentiles(seconds)} of {len(seconds)} requests")


def processor_seconds() -> Counter[str]:
    """What each part has used so far; this process stands for the clients."""
    seconds: Counter[str] = Counter()
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            seconds[_part(process.cmdline())] += times.user + times.system
    return seconds


def _part(command: Sequence[str]) -> str:
    words = " ".join(command)
    parts = {"bench.sleepers": "workers", "postgres": "PostgreSQL", "redis": "Redis", "cli api": "web server"}
    return next((part for word, part in parts.items() if word in words), "clients")


def _percentiles(seconds: Sequence[float]) -> str:
    cuts = statistics.quantiles(seconds, n=100)
    return ", ".join(f"p{p} {cuts[p - 1] * 1000:.0f} ms" for p in (50, 90, 99))


def _timed(client: httpx.Client, path: str) -> float:
    start = time.perf_counter()
    client.get(path).raise_for_status()
    return time.perf_counter() - start


# --- planning ------------------------------------------------------------------------


def planned(bench: Bench, spec: AtlasSpec) -> str:
    """The id of a new atlas once it is planned; prints what the planner needed."""
    wait(lambda: alive(bench) > 0, 120, "a worker")
    planner = psutil.Process(_planner(bench))
    before = peak = planner.memory_info().rss
    with bench.sessions.begin() as session:
        atlas_id = atlases.create(session, spec, max_open=10)[0].id
    start = time.monotonic()
    send_plan(make_celery(bench.settings), atlas_id)
    while _atlas(bench, atlas_id).planned_at is None:
        peak = max(peak, planner.memory_info().rss)
        if error := _atlas(bench, atlas_id).error:
            raise RuntimeError(f"the atlas cannot be planned: {error}")
        time.sleep(0.1)
    seconds = time.monotonic() - start
    with bench.sessions() as session:
        shards = tallies.of_atlas(session, atlas_id)[tallies.PLANNED]
    print(
        f"plan of {shards.images:,} unit-images: {shards.shards:,} shards in {seconds:.1f} s; "
        f"the planner's memory {before / 2**20:.0f} MiB before, {peak / 2**20:.0f} MiB at most"
    )
    return atlas_id


def _planner(bench: Bench) -> int:
    with bench.sessions() as session:
        return session.scalars(select(Worker.pid).where(Worker.stopped_at.is_(None)).limit(1)).one()


def _atlas(bench: Bench, atlas_id: str) -> Atlas:
    with bench.sessions() as session:
        return session.get_one(Atlas, atlas_id)


def alive(bench: Bench) -> int:
    with bench.sessions() as session:
        return workers.live(session, bench.settings.alive_seconds).total()


def _running(bench: Bench) -> int:
    with bench.sessions() as session:
        return session.scalar(select(func.count()).select_from(Shard).where(Shard.state == ShardState.RUNNING)) or 0


def done(bench: Bench, atlas_id: str) -> int:
    with bench.sessions() as session:
        return tallies.of_atlas(session, atlas_id)[ShardState.DONE].shards
