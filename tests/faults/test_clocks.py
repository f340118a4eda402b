"""Machines whose clocks differ by minutes: only the database's clock says whose lease has run out."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from db import clock
from db.models import Shard
from tests.conftest import require_part
from tests.faults import aftermath
from tests.faults.fleet import Fleet, processes, thaw, trial
from tests.services import Redis, running_postgres_server

pytestmark = pytest.mark.faults

LEASE_SECONDS = 12
"""Long enough that nobody is late by it on a busy machine, which would cost an attempt; far less than seven minutes."""


def at(difference: str) -> dict[str, str]:
    """The environment of a program whose clock differs by so much; how long something takes stays what it is."""
    require_part("faketime")
    [library] = Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")
    # Its mend for an old C library would have every thread that waits for the interpreter spin.
    unchanged = {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_FORCE_MONOTONIC_FIX": "0"}
    return {"LD_PRELOAD": str(library), "FAKETIME": difference, **unchanged}


@pytest.fixture
def askew(tmp_path: Path, redis: Redis) -> Iterator[Fleet]:
    """Two workers, whose clocks are seven minutes fast and seven minutes slow."""
    redis.flush()
    with running_postgres_server() as postgres:
        fleet = Fleet(tmp_path / "home", redis, postgres, lease_seconds=LEASE_SECONDS)
        try:
            fleet.hire(env=at("+7m"))
            fleet.hire(env=at("-7m"))
            with trial(fleet):
                yield fleet
        finally:
            fleet.close()


def seconds_left(fleet: Fleet, shard: Shard) -> float:
    """Of the shard's lease, by the database's clock."""
    with fleet.installation.sessions() as session:
        return (shard.lease_expires_at - clock.now(session)) / timedelta(seconds=1)


def test_leases_are_neither_stolen_early_nor_kept_for_ever(askew: Fleet):
    fast, slow = askew.alive
    atlas_id = askew.begin()
    for worker in (fast, slow):
        _, shard = askew.catch(worker)
        assert seconds_left(askew, shard) <= LEASE_SECONDS
        thaw(*processes(worker))
    askew.catch(fast)
    lost = {shard.id for shard in askew.running() if askew.holder(shard) is fast}  # one may be on its way to its commit
    fast.kill()

    aftermath.check(askew, atlas_id)  # by the slow one, for which the lease has seven minutes to go
    shards = askew.installation.shards(atlas_id)
    assert {shard.id for shard in shards if shard.attempts == 2} == lost  # the fast one had taken none too early
    assert {shard.attempts for shard in shards} == {1, 2}
    check_clocks(askew)


def check_clocks(fleet: Fleet) -> None:
    """That their clocks really differed: each line of a log has the time that its worker saw."""
    one, two = (datetime.strptime(fleet.log(worker)[:19], "%Y-%m-%d %H:%M:%S") for worker in fleet.workers)  # noqa: DTZ007  # of the same zone
    assert abs(one - two) > timedelta(minutes=13)
