"""The picture store held against the rows: what no row names, and what rows name that is not there.

Both go through the keys in 16 passes, by their first digit, so that a sixteenth of them is in memory at once.

A sweep may run beside workers. Whatever a row is going to name was put before its commit, no longer ago than a task
may take, and a put makes its bytes young (see `store.base.REFRESH_SECONDS`): `least_grace_seconds` is the age from
which on nobody can be about to name them. Age and rows are looked at once more right before something is deleted.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import TypeVar

from core.errors import Conflict
from core.settings import Settings
from db import activations, clock, leases, workers
from db.queries import blobs, probe_sets
from db.session import Sessions
from store import Entry, PictureStore
from store.base import REFRESH_SECONDS

T = TypeVar("T")

DIGITS = "0123456789abcdef"
BATCH = 500
"""Keys whose rows are looked for in one statement."""
SKEW_SECONDS = 3600.0
"""By how much the store's clock may differ from the database's."""


def least_grace_seconds(settings: Settings) -> float:
    """From what age on bytes that no row names cannot be about to be named."""
    return REFRESH_SECONDS + settings.task_seconds + SKEW_SECONDS


def check_grace(sessions: Sessions, settings: Settings, grace_seconds: float) -> None:
    """See that what is older than `grace_seconds` may be deleted.

    A worker that is silent, frozen or cut off, counts as gone, yet may wake up and commit. What leases have run out are
    therefore ended, and none may be left: whoever held one can commit nothing.

    Raises:
        Conflict: workers live or hold leases, or a probe set is being filled: somebody may be about to name something
            that is older.
    """
    least = least_grace_seconds(settings)
    if grace_seconds >= least:
        return
    with sessions() as session:
        alive = workers.live(session, settings.alive_seconds).total()
    _refuse(alive, f"{alive} workers", least, "stop them first")
    _reap(sessions, settings.max_attempts)
    with sessions() as session:
        held = leases.count_held(session) + activations.count_held(session)
        filling = probe_sets.count_filling(session)
    _refuse(held, f"{held} leases of workers that do not answer", least, "wait until they have run out")
    _refuse(filling, f"{filling} probe sets that are being filled", least, "finish or delete them")


def _reap(sessions: Sessions, max_attempts: int) -> None:
    with sessions() as session:
        found = leases.atlases_with_expired(session)
    for atlas_id in found:
        with sessions.begin() as session:
            leases.reap_expired(session, atlas_id, max_attempts)
    with sessions.begin() as session:
        activations.end_expired(session)


def _refuse(count: int, who: str, least: float, remedy: str) -> None:
    if count:
        detail = f"{who} may still commit what was stored in the last {least:.0f} seconds."
        raise Conflict(detail, f"Give --older-than more than that, or {remedy}.")


def sweep(
    sessions: Sessions, store: PictureStore, grace_seconds: float, *, delete: bool
) -> Iterator[tuple[Entry, bool]]:
    """What no row names and was written more than `grace_seconds` ago; and whether it is deleted now."""
    before = _ago(sessions, grace_seconds)  # once: what is put from now on is younger, however long this takes
    for digit in DIGITS:
        with sessions() as session:
            named = {bytes.fromhex(key) for key in blobs.keys(session, digit)}
        entries = store.entries(digit)
        old = (e for e in entries if e.written_at < before and bytes.fromhex(e.key) not in named)
        for batch in _batches(old):
            for entry in _unnamed(sessions, batch):
                yield entry, delete and store.delete(entry.key, unless_since=before)


def missing(sessions: Sessions, store: PictureStore) -> Iterator[blobs.Named]:
    """The rows that name what is not in the store."""
    for digit in DIGITS:
        present = {bytes.fromhex(entry.key) for entry in store.entries(digit)}
        with sessions() as session:
            lost = {key for key in blobs.keys(session, digit) if bytes.fromhex(key) not in present}
        for batch in _batches(key for key in sorted(lost) if not store.exists(key)):  # some were put meanwhile
            with sessions() as session:
                found = blobs.among(session, batch)
            yield from found


def _ago(sessions: Sessions, seconds: float) -> datetime:
    """That moment by the database's clock."""
    with sessions() as session:
        return clock.now(session) - timedelta(seconds=seconds)


def _unnamed(sessions: Sessions, entries: list[Entry]) -> list[Entry]:
    with sessions() as session:
        named = {row.key for row in blobs.among(session, [entry.key for entry in entries])}
    return [entry for entry in entries if entry.key not in named]


def _batches(items: Iterable[T]) -> Iterator[list[T]]:
    rest = iter(items)
    while batch := list(islice(rest, BATCH)):
        yield batch
