"""What a shard, and a worker that waits, cost in processor time: little depends on what else the machine does.

The parts are those of `bench.fleet`. A few workers sleep a twentieth of what they would compute, so that shards come as
often as from twenty times as many.
"""

import tempfile
import time
from collections import Counter
from pathlib import Path

from bench import crowd
from bench.fleet import Bench, alive, done, fleet, planned, processor_seconds, service, wait
from bench.timing import heading
from db import atlases

SPEED = 20.0
BUSY = 4
IDLE = 20
SECONDS = 45.0


def run() -> None:
    """Prints processor milliseconds for a shard of ten images, and for a second of a worker that has nothing to do."""
    heading("Processor time of the service")
    with tempfile.TemporaryDirectory(prefix="deepvis-bench-") as home, service(Path(home)) as bench:
        with bench.sessions.begin() as session:
            crowd.describe(session)
        with fleet(bench, BUSY, SPEED):
            atlas_id = planned(bench, crowd.spec(50_000))
            used, shards = _watch(bench, atlas_id)
            _say(f"a shard ({shards} in {SECONDS:.0f} s)", used, shards)
        with bench.sessions.begin() as session:
            atlases.request_cancel(session, atlas_id)
        with fleet(bench, IDLE):
            wait(lambda: alive(bench) >= IDLE + BUSY, 300, "every worker")
            used, _ = _watch(bench, atlas_id)
            _say("a second of an idle worker", used, SECONDS * IDLE)


def _watch(bench: Bench, atlas_id: str) -> tuple[Counter[str], int]:
    """Processor seconds by part, and shards of the atlas that were done meanwhile."""
    time.sleep(10)  # past the start
    shards, before = done(bench, atlas_id), processor_seconds()
    time.sleep(SECONDS)
    return processor_seconds() - before, done(bench, atlas_id) - shards


def _say(what: str, used: Counter[str], number: float) -> None:
    parts = ", ".join(f"{part} {seconds / number * 1000:.2f}" for part, seconds in sorted(used.items()))
    print(f"{what}, in processor milliseconds: {parts}")
