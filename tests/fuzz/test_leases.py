"""Leases as a state machine: atlases, workers and mishaps in any order, and what must hold after every step.

The model knows little: which lease of a shard was the last one, and how it ended. Everything else is read from the
tables in plain SQL. At the end every machine is driven on, and each atlas must come to its end.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from core.errors import Conflict, LostLease
from core.recipes import BOLD, FOURIER
from core.specs import DeviceKind, Priority, ShardSpec
from db import atlases, clock
from db.dispatch import assign
from db.leases import commit_shard, fail_attempt, lease_shard, release, renew
from db.models import Base, Shard
from db.planning import PlanLease, begin_planning, extend_plan, finish_planning, take_unplanned
from db.session import Sessions, make_engine, make_sessions
from db.work import Lease
from tests.fuzz.examiner import SECONDS
from tests.integration.records import MAX_OPEN, describe, reap, results, shards, wish

pytestmark = [pytest.mark.integration, pytest.mark.timeout(0 if SECONDS else 300)]

MAX_ATTEMPTS = 2
LEASE_SECONDS = 60
WORKERS = ("ada", "bob", "eve")
UNFINISHED = ("queued", "planning", "running")
# Plans share pictures with each other, whole shards and parts of them.
PLANS: tuple[list[ShardSpec], ...] = (
    [],
    shards("classes", [(0, 1)]),
    shards("conv", [(0, 1), (2, 3)]),
    shards("conv", [(0, 1), (2, 3)], BOLD),
    shards("conv", [(1, 2), (4,)]) + shards("classes", [(0, 1, 2)], BOLD),
    shards("conv", [(0, 1), (3,)], seeds=2),
)
picks = st.integers(0, 99)


@dataclass
class Held:
    """A lease that somebody was given, for ever remembered."""

    lease: Lease
    ran_out: bool = False
    ended: bool = False
    committed: bool = False


@dataclass
class Planner:
    """Somebody who was given an atlas to plan, and how much of its plan they have written."""

    lease: PlanLease
    plan: list[ShardSpec]
    position: int = 0


class Leases(RuleBasedStateMachine):
    """Everything that may happen to atlases and shards, in any order."""

    def __init__(self, sessions: Sessions) -> None:
        super().__init__()
        self.sessions = sessions
        self.plans: dict[str, list[ShardSpec]] = {}
        self.planners: list[Planner] = []
        self.given: list[Held] = []
        with self.sessions.begin() as session:
            describe(session)

    # --- atlases -------------------------------------------------------------------

    @initialize(plan=st.sampled_from(PLANS[1:]))
    def begin(self, plan: list[ShardSpec]) -> None:
        """There is something to do from the start."""
        self.ask(plan)
        self.plan(0, "")

    @rule(plan=st.sampled_from(PLANS))
    def ask(self, plan: list[ShardSpec]) -> None:
        """Somebody asks for an atlas."""
        spec = wish((FOURIER, BOLD), seeds=max((shard.seeds for shard in plan), default=1))
        with self.sessions.begin() as session:
            atlas, _ = atlases.create(session, spec, max_open=MAX_OPEN)
            self.plans[atlas.id] = plan

    @precondition(lambda self: self.plans)
    @rule(pick=picks, dies=st.sampled_from(["", "at once", "half-way"]))
    def plan(self, pick: int, dies: str) -> None:
        """A planner plans an atlas; or takes it up, maybe begins to write, and is not heard of for long."""
        atlas_id = self.atlas(pick)
        with self.sessions.begin() as session:
            lease = begin_planning(session, atlas_id, LEASE_SECONDS)
        if lease is None:
            return
        planner = Planner(lease, self.plans[atlas_id])
        self.planners.append(planner)
        if dies != "at once":
            self.write(planner, most=1 if dies else None)
        if dies:
            self.move_back("atlases", "plan_expires_at", f"id = '{atlas_id}'")

    @precondition(lambda self: self.planners)
    @rule(pick=picks)
    def plan_late(self, pick: int) -> None:
        """A planner that was given up for dead goes on, or says once more what it has said."""
        self.write(self.planners[pick % len(self.planners)])

    def write(self, planner: "Planner", most: int | None = None) -> None:
        """Write the plan on in chunks of one; all of it unless told otherwise, and then let the atlas run."""
        with suppress(LostLease):
            for number, shard in list(enumerate(planner.plan))[planner.position : most]:
                for _ in range(2):
                    with self.sessions.begin() as session:
                        extend_plan(session, planner.lease, number, [shard])
                planner.position = number + 1
            if most is None:
                with self.sessions.begin() as session:
                    finish_planning(session, planner.lease)

    @precondition(lambda self: self.plans)
    @rule(pick=picks)
    def cancel(self, pick: int) -> None:
        """Somebody gives an atlas up."""
        self.command(atlases.request_cancel, self.atlas(pick))

    @precondition(lambda self: self.plans)
    @rule(pick=picks)
    def retry(self, pick: int) -> None:
        """Somebody asks for what failed or was cancelled again."""
        self.command(atlases.retry_failed, self.atlas(pick))

    # --- shards --------------------------------------------------------------------

    @precondition(lambda self: self.shard_ids())
    @rule(worker=st.sampled_from(WORKERS), pick=picks)
    def lease(self, worker: str, pick: int) -> None:
        """A message about any shard reaches a worker, however old it is."""
        ids = self.shard_ids()
        self.take(worker, ids[pick % len(ids)])

    @precondition(lambda self: self.given)
    @rule(worker=st.sampled_from(WORKERS), pick=picks)
    def take_over(self, worker: str, pick: int) -> None:
        """A worker freezes, another takes its shard over, and the first may wake up at any time."""
        self.run_out(pick)
        self.take(worker, self.held(pick).lease.shard_id)

    @rule(worker=st.sampled_from(WORKERS), limit=st.integers(0, 3), stale_seconds=st.sampled_from([-1, 60]))
    def dispatch(self, worker: str, limit: int, stale_seconds: int) -> None:
        """Messages are sent, and a worker takes what they name."""
        chosen = self.send(limit, stale_seconds)
        assert len(set(chosen)) == len(chosen) <= limit
        for shard_id in chosen[:1]:
            self.take(worker, shard_id)

    @precondition(lambda self: self.given)
    @rule(pick=picks, fraction=st.floats(-1, 2))
    def renew(self, pick: int, fraction: float) -> None:
        """A worker reports that it is still at it."""
        held = self.held(pick)
        with self.sessions.begin() as session:
            token = held.lease.token
            kept = renew(session, held.lease.worker_id, [token], {token: fraction}, LEASE_SECONDS)
        assert kept <= {token}
        assert not (kept and held.ended)
        held.ran_out = held.ran_out and not kept

    @precondition(lambda self: self.given)
    @rule(pick=picks)
    def run_out(self, pick: int) -> None:
        """A worker freezes until its lease has run out."""
        held = self.held(pick)
        self.move_back("shards", "lease_expires_at", f"state = 'running' AND lease_token = '{held.lease.token}'")
        held.ran_out = True

    @precondition(lambda self: self.given)
    @rule(pick=picks)
    def commit(self, pick: int) -> None:
        """A worker commits: in time, late, or for the second time."""
        held = self.held(pick)
        before = self.rows("SELECT count(*) FROM pictures")
        try:
            with self.sessions.begin() as session:
                commit_shard(session, held.lease, results(held.lease))
        except LostLease:
            assert held.ended or held.ran_out, "a lease that holds was refused"
            assert not held.committed, "a lease that was committed is called lost"
            assert self.rows("SELECT count(*) FROM pictures") == before
        else:
            assert held.committed or not held.ended, "a lease that was lost was committed"
            held.committed = True
        held.ended = True

    @precondition(lambda self: self.given)
    @rule(pick=picks)
    def release(self, pick: int) -> None:
        """A worker that is stopped gives its shard back."""
        held = self.held(pick)
        with self.sessions.begin() as session:
            given_back = release(session, held.lease)
        self.settle(held, given_back)

    @precondition(lambda self: self.given)
    @rule(pick=picks)
    def fail(self, pick: int) -> None:
        """A worker fails."""
        self.lose(self.held(pick))

    @precondition(lambda self: self.given)
    @rule(worker=st.sampled_from(WORKERS), pick=picks)
    def fail_for_good(self, worker: str, pick: int) -> None:
        """A shard fails with everybody who takes it, until it is given up."""
        shard_id = self.held(pick).lease.shard_id
        for _ in range(MAX_ATTEMPTS):
            if (held := self.take(worker, shard_id)) is not None:
                self.lose(held)

    def lose(self, held: Held) -> None:
        """An attempt fails."""
        with self.sessions.begin() as session:
            state = fail_attempt(session, held.lease, "out of memory", MAX_ATTEMPTS)
        self.settle(held, state is not None)

    @rule()
    def reap(self) -> None:
        """Somebody looks after leases that ran out."""
        with self.sessions.begin() as session:
            reap(session, MAX_ATTEMPTS)
        for held in self.given:
            held.ended = held.ended or held.ran_out

    # --- what holds after every step ---------------------------------------------------

    @invariant()
    def each_picture_is_there_once_and_what_is_done_is_there(self) -> None:
        """By the tables, not by their constraints."""
        twice = "SELECT unit FROM pictures GROUP BY layer_id, unit, recipe_hash, seed HAVING count(*) > 1"
        assert not self.rows(twice)
        pictures = {tuple(row) for row in self.rows("SELECT layer_id, recipe_hash, unit, seed FROM pictures")}
        with self.sessions() as session:
            done = session.scalars(select(Shard).where(Shard.state == "done")).all()
        assert {(d.layer_id, d.recipe_hash, u, s) for d in done for u in d.units for s in range(d.seeds)} <= pictures

    @invariant()
    def an_atlas_is_over_when_its_shards_are(self) -> None:
        """And it runs as long as there is something to do."""
        for atlas_id, state, images, planned in self.rows("SELECT id, state, images, planned_at FROM atlases"):
            counted = self.rows(
                f"SELECT state, count(*), sum(images) FROM shards WHERE atlas_id = '{atlas_id}' GROUP BY state"
            )
            states = {row[0] for row in counted}
            assert planned or states <= {"pending", "done"}  # half a plan, of which nothing is computed
            assert not planned or images == sum(row[2] for row in counted)
            assert (state == "running") == bool(planned and state != "cancelled" and states & {"pending", "running"})
            assert state != "complete" or states <= {"done"}
            assert state != "complete_with_failures" or {"failed"} <= states <= {"done", "failed"}
            assert state != "cancelled" or "pending" not in states

    @invariant()
    def shards_are_as_their_state_says(self) -> None:
        """Attempts are bounded, only what runs has a lease, and what is done may keep its token."""
        columns = "state, attempts, lease_token, lease_expires_at, fraction, finished_at"
        for state, attempts, token, expires, fraction, finished in self.rows(f"SELECT {columns} FROM shards"):
            assert 0 <= attempts <= MAX_ATTEMPTS
            assert (expires is not None) == (state == "running")
            assert token is not None if state == "running" else token is None or state == "done"
            assert 0 <= fraction <= 1
            assert finished or state not in {"done", "failed"}

    @invariant()
    def tallies_are_sums_over_shards(self) -> None:
        """Of every atlas, planned or half planned."""
        planned = "SELECT shards, images, cost_seconds FROM tallies WHERE atlas_id = '{}' AND state = '{}'"
        counted = "SELECT count(*), coalesce(sum(images), 0), coalesce(sum(cost_seconds), 0) FROM shards"
        for (atlas_id,) in self.rows("SELECT id FROM atlases"):
            for state in ("planned", "done", "failed", "cancelled"):
                only = "" if state == "planned" else f" AND state = '{state}'"
                [expected] = self.rows(f"{counted} WHERE atlas_id = '{atlas_id}'{only}")
                found = self.rows(planned.format(atlas_id, state)) or [(0, 0, 0.0)]
                assert tuple(found[0]) == pytest.approx(tuple(expected)), (state, found, expected)

    def teardown(self) -> None:
        """Workers come that make no mistake: then every atlas comes to its end."""
        for _ in range(60):
            if not self.rows(f"SELECT id FROM atlases WHERE state IN {UNFINISHED}"):
                break
            self.work_on()
            self.check_invariants_again()
        assert not self.rows(f"SELECT id, state FROM atlases WHERE state IN {UNFINISHED}")

    def work_on(self) -> None:
        """What the good workers do: forget the dead, plan, take what is waiting, commit."""
        self.move_back("shards", "lease_expires_at", "lease_expires_at IS NOT NULL")
        for held in self.given:
            held.ran_out = True
        self.move_back("shards", "retry_at", "retry_at IS NOT NULL")
        self.move_back("atlases", "plan_expires_at", "plan_expires_at IS NOT NULL")
        with self.sessions.begin() as session:
            reap(session, MAX_ATTEMPTS)
        with self.sessions.begin() as session:
            unplanned = take_unplanned(session, [DeviceKind.CPU], stale_seconds=-1)
        for atlas_id, _ in unplanned:
            self.move_back("atlases", "plan_expires_at", f"id = '{atlas_id}'")
            self.plan(list(self.plans).index(atlas_id), "")
        for held in [self.take("good", shard_id) for shard_id in self.send(8, -1)]:
            if held is not None:
                with self.sessions.begin() as session:
                    commit_shard(session, held.lease, results(held.lease))

    def send(self, limit: int, stale_seconds: int) -> list[int]:
        """Shards that get a message, in every lane."""
        with self.sessions.begin() as session:
            chosen = assign(session, {(DeviceKind.ANY, each): limit for each in Priority}, stale_seconds=stale_seconds)
        return [each.shard_id for each in chosen][:limit]

    def check_invariants_again(self) -> None:
        """Those above, outside of the machine's own steps."""
        self.each_picture_is_there_once_and_what_is_done_is_there()
        self.an_atlas_is_over_when_its_shards_are()
        self.shards_are_as_their_state_says()
        self.tallies_are_sums_over_shards()

    # --- means -------------------------------------------------------------------------

    def take(self, worker: str, shard_id: int) -> Held | None:
        """Lease the shard for the worker, if it is to be had; whoever had it before has lost it."""
        with self.sessions.begin() as session:
            lease = lease_shard(session, shard_id, worker, LEASE_SECONDS, max_attempts=MAX_ATTEMPTS)
        if lease is None:
            return None
        for before in (held for held in self.given if held.lease.shard_id == shard_id):
            assert before.ended or before.ran_out, "a shard was given to two"
            before.ended = True
        self.given.append(Held(lease))
        return self.given[-1]

    def settle(self, held: Held, was_held: bool) -> None:
        """Whether `held` was still worth something, against what the model knows."""
        assert not (was_held and held.ended)
        assert was_held or held.ended or held.ran_out
        held.ended = True

    def command(self, change: Callable[[Session, str], Any], atlas_id: str) -> None:
        """A command on an atlas, which may not fit its state."""
        try:
            with self.sessions.begin() as session:
                change(session, atlas_id)
        except Conflict as error:
            assert error.remedy

    def atlas(self, pick: int) -> str:
        return list(self.plans)[pick % len(self.plans)]

    def held(self, pick: int) -> Held:
        """A lease, the latest ones more often."""
        return self.given[-1 - min(pick % 7, pick % len(self.given))]

    def shard_ids(self) -> list[int]:
        return [row[0] for row in self.rows("SELECT id FROM shards ORDER BY id")]

    def rows(self, statement: str) -> list[Any]:
        with self.sessions() as session:
            return list(session.execute(text(statement)).all())

    def move_back(self, table: str, column: str, where: str) -> None:
        """Let a moment have passed."""
        with self.sessions.begin() as session:
            past = clock.after(clock.now(session), -1)
            rows = Base.metadata.tables[table].update().where(text(where))
            session.execute(rows.values({column: past}))


@pytest.fixture
def renewed(database_url: str) -> Iterator[Callable[[], Sessions]]:
    """Gives sessions of one and the same database, empty every time."""
    engine = make_engine(database_url)

    def renew() -> Sessions:
        with engine.begin() as connection:
            for table in reversed(Base.metadata.sorted_tables):
                connection.execute(table.delete())
        return make_sessions(engine)

    yield renew
    engine.dispose()


def examples(database_url: str) -> int:
    few = 40 if database_url.startswith("sqlite") else 3
    return few + 20 * SECONDS


def test_whatever_happens_each_picture_is_stored_once_and_every_atlas_ends(
    renewed: Callable[[], Sessions], database_url: str
) -> None:
    limits = settings(
        max_examples=examples(database_url),
        stateful_step_count=50,
        deadline=None,
        derandomize=not SECONDS,
        database=None,
        phases=list(Phase) if SECONDS else [Phase.generate],  # to shrink a failure takes minutes: make fuzz does
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(lambda: Leases(renewed()), settings=limits)
