"""Commands and reads of activation jobs, on SQLite and PostgreSQL."""

from collections.abc import Sequence

import pytest
from sqlalchemy import func, select, update

from core.activation_specs import INPUT_FILE, ActivationKind, ActivationResult, ActivationSpec, LayerView
from core.errors import BadNetwork, InvalidRequest, LostLease, NotDescribed, NotFound, OverQuota, UnknownLayer
from db import activations, clock, networks
from db.activation_models import ActivationFile, ActivationJob, JobState
from db.activations import ActivationLease, ActivationWish, Sent, StoredPart
from db.models import Network
from db.queries import activations as queries
from db.queries import blobs
from db.session import Sessions
from tests.integration.racing import race
from tests.integration.records import SOURCE, describe, info, layer

pytestmark = pytest.mark.integration

SENT = Sent("walk.mp4", [StoredPart("a" * 64, 10), StoredPart("b" * 64, 4)])
RESULT = ActivationResult(layers=(LayerView(layer="conv", order=0, units=6, height=8, width=8),), frames=7)
FILES = {"recording.webm": [StoredPart("c" * 64, 20)]}
VIDEO, PICTURE = ActivationKind.RECORDING, ActivationKind.PICTURE


def resolved(sessions: Sessions, kind: ActivationKind = VIDEO, layers: Sequence[str] = ("conv",)) -> ActivationSpec:
    with sessions() as session:
        return activations.resolve(session, ActivationWish(kind=kind, network="tiny", layers=layers))


@pytest.fixture
def job_id(sessions: Sessions) -> str:
    """A recording that waits."""
    with sessions.begin() as session:
        describe(session)
    return make(sessions)


def make(sessions: Sessions, owner: str = "ann", max_open: int = 9) -> str:
    spec = resolved(sessions)
    with sessions.begin() as session:
        return activations.create(session, spec, SENT, owner=owner, max_open=max_open).id


def begin(
    sessions: Sessions, job_id: str, token: str = "t", seconds: float = 60, most: int = 3
) -> ActivationLease | None:
    with sessions.begin() as session:
        return activations.begin(session, job_id, token, seconds, most)


def begun(sessions: Sessions, job_id: str, token: str = "t", seconds: float = 60) -> ActivationLease:
    lease = begin(sessions, job_id, token, seconds)
    assert lease is not None
    return lease


def look(sessions: Sessions, job_id: str) -> queries.ActivationView:
    with sessions() as session:
        return queries.get_job(session, job_id)


def test_a_job_from_wish_to_result(sessions: Sessions, job_id: str) -> None:
    waiting = look(sessions, job_id)
    assert (waiting.state, waiting.filename, waiting.spec.layers) == (JobState.QUEUED, "walk.mp4", ("conv",))
    assert [(file.name, file.bytes) for file in waiting.files] == [(INPUT_FILE, 14)]
    lease = begun(sessions, job_id)
    assert (lease.attempt, lease.network.name, [each.name for each in lease.layers]) == (1, "tiny", ["conv"])
    assert lease.input == SENT.parts
    with sessions.begin() as session:
        assert activations.renew(session, lease, 3, 7, 60)
    running = look(sessions, job_id)
    assert (running.state, running.done, running.total) == (JobState.RUNNING, 3, 7)
    for _ in range(2):  # the answer may get lost
        with sessions.begin() as session:
            activations.finish(session, lease, RESULT, FILES)
    done = look(sessions, job_id)
    assert (done.state, done.done, done.total, done.result) == (JobState.DONE, 7, 7, RESULT)
    assert [(file.name, file.bytes) for file in done.files] == [("recording.webm", 20)], "what was sent is forgotten"
    assert begin(sessions, job_id) is None


def test_layers_of_a_wish_are_looked_up(sessions: Sessions) -> None:
    with sessions.begin() as session:
        norm = layer("norm", 1, 6, kind="norm")
        conv = layer("conv", 0, 6).model_copy(update={"read_at": "norm"})
        describe(session, info(SOURCE, [conv, norm, layer("classes", 2, 3, kind="linear")]))
        networks.register(session, SOURCE.model_copy(update={"name": "unseen"}))
        networks.register(session, SOURCE.model_copy(update={"name": "broken"}))
        networks.fail_description(session, "broken", "no weights")
    assert resolved(sessions, PICTURE, ()).layers == ("conv", "classes"), "the norm is what conv is read after"
    assert resolved(sessions, PICTURE, ("norm", "conv")).layers == ("conv", "norm")
    with pytest.raises(UnknownLayer, match="'conv'"):
        resolved(sessions, PICTURE, ("comv",))
    with pytest.raises(InvalidRequest, match="1 to 12 layers"):
        resolved(sessions, VIDEO, ())
    for name, error in (("unseen", NotDescribed), ("broken", BadNetwork)):
        with sessions() as session, pytest.raises(error):
            activations.resolve(session, ActivationWish(kind=PICTURE, network=name))


def test_an_owner_has_so_many_unfinished_jobs(sessions: Sessions, job_id: str) -> None:
    make(sessions, max_open=2)
    with pytest.raises(OverQuota, match="2 activation jobs of 'ann'"):
        make(sessions, max_open=2)
    make(sessions, owner="bob", max_open=1)
    with sessions.begin() as session:
        activations.cancel(session, job_id)
    make(sessions, max_open=2)


def test_a_lease_that_ran_out_is_somebody_elses(sessions: Sessions, job_id: str) -> None:
    first = begun(sessions, job_id, "first", seconds=60)
    assert begin(sessions, job_id, "second") is None
    assert begun(sessions, job_id, "first").attempt == 1, "said twice"
    expire(sessions, job_id)
    second = begun(sessions, job_id, "second")
    assert second.attempt == 2
    with sessions.begin() as session:
        assert not activations.renew(session, first, 1, 2, 60)
        with pytest.raises(LostLease):
            activations.finish(session, first, RESULT, FILES)
        activations.fail(session, first, "late")
        activations.leave(session, first)
    assert look(sessions, job_id).state == JobState.RUNNING
    with sessions.begin() as session:
        activations.finish(session, second, RESULT, FILES)
    assert look(sessions, job_id).state == JobState.DONE


def expire(sessions: Sessions, job_id: str) -> None:
    with sessions.begin() as session:
        past = clock.after(clock.now(session), -1)
        session.execute(update(ActivationJob).where(ActivationJob.id == job_id).values(lease_expires_at=past))


def test_a_job_that_ends_its_workers_is_given_up(sessions: Sessions, job_id: str) -> None:
    for attempt in (1, 2):
        lease = begin(sessions, job_id, f"t{attempt}", most=2)
        assert lease is not None and lease.attempt == attempt
        expire(sessions, job_id)
    assert begin(sessions, job_id, "t3", most=2) is None
    given_up = look(sessions, job_id)
    assert (given_up.state, given_up.error) == (
        JobState.FAILED, "It ended its worker 2 times; it may need more memory."
    )  # fmt: skip


def test_a_job_left_to_others_does_not_count_as_tried(sessions: Sessions, job_id: str) -> None:
    with sessions.begin() as session:
        activations.leave(session, begun_in(session, job_id, "one"))
    assert look(sessions, job_id).state == JobState.QUEUED
    assert begun(sessions, job_id, "two").attempt == 1


def begun_in(session, job_id: str, token: str) -> ActivationLease:
    lease = activations.begin(session, job_id, token, 60, 3)
    assert lease is not None
    return lease


def test_a_job_fails_with_its_reason(sessions: Sessions, job_id: str) -> None:
    lease = begun(sessions, job_id)
    for _ in range(2):
        with sessions.begin() as session:
            activations.fail(session, lease, "x" * 5000)
    failed = look(sessions, job_id)
    assert (failed.state, failed.error, failed.files) == (JobState.FAILED, "x" * 4000, ())


@pytest.mark.parametrize("deleted", [False, True])
def test_a_job_given_up_takes_its_worker_nothing_to_commit(sessions: Sessions, job_id: str, deleted: bool) -> None:
    lease = begun(sessions, job_id)
    with sessions.begin() as session:
        activations.delete(session, job_id) if deleted else activations.cancel(session, job_id)
    with sessions.begin() as session:
        assert not activations.renew(session, lease, 1, None, 60)
        with pytest.raises(LostLease):
            activations.finish(session, lease, RESULT, FILES)
    with sessions() as session:
        assert session.scalar(select(func.count()).select_from(ActivationFile)) == 0
    if deleted:
        with pytest.raises(NotFound):
            look(sessions, job_id)
    else:
        assert look(sessions, job_id).state == JobState.CANCELLED
    with sessions.begin() as session, pytest.raises(NotFound):
        activations.cancel(session, "nobody")


def test_what_lost_its_message_or_its_worker_is_asked_for_again(sessions: Sessions, job_id: str) -> None:
    def take(stale: float) -> list[tuple[str, ActivationKind]]:
        with sessions.begin() as session:
            return activations.take_unanswered(session, stale_seconds=stale)

    assert take(60) == []
    assert take(-1) == [(job_id, VIDEO)]
    lease = begun(sessions, job_id)
    assert take(-1) == [], "a worker has it"
    with sessions.begin() as session:
        asked = clock.after(clock.now(session), -10)
        session.execute(update(ActivationJob).values(requested_at=asked))
    expire(sessions, job_id)
    assert take(60) == [(job_id, VIDEO)]
    assert take(60) == [], "it was asked for since"
    assert take(-1) == [(job_id, VIDEO)]
    with sessions.begin() as session:
        activations.fail(session, lease, "no")
    assert take(-1) == []


def test_the_sweep_knows_what_jobs_name_and_who_may_commit(sessions: Sessions, job_id: str) -> None:
    with sessions() as session:
        assert {"a" * 64, "b" * 64} <= set(blobs.keys(session))
        assert set(blobs.keys(session, "b")) == {"b" * 64}
        [named] = blobs.among(session, ["a" * 64])
        assert (named.what, named.row) == ("activations", f"{job_id}/{INPUT_FILE}/0")
    begun(sessions, job_id)
    with sessions.begin() as session:
        assert activations.count_held(session) == 1
        assert activations.end_expired(session) == 0
    expire(sessions, job_id)
    with sessions.begin() as session:
        assert activations.end_expired(session) == 1
        assert activations.count_held(session) == 0


def test_two_workers_never_hold_one_job(sessions: Sessions, job_id: str) -> None:
    found = race([lambda token=token: begin(sessions, job_id, token) for token in "abcdef"])
    assert sum(lease is not None for lease in found) == 1


def test_jobs_are_listed_newest_first_a_page_at_a_time(sessions: Sessions, job_id: str) -> None:
    ids = [job_id, *(make(sessions) for _ in range(4))][::-1]
    with sessions() as session:
        first = queries.list_jobs(session, limit=3)
        rest = queries.list_jobs(session, limit=3, cursor=first.next_cursor)
        assert [item.id for item in (*first.items, *rest.items)] == sorted(ids, reverse=True)
        assert rest.next_cursor is None
        assert queries.list_jobs(session, kind=PICTURE).items == ()
        with pytest.raises(NotFound, match="no recording"):
            queries.get_job(session, "nobody", VIDEO)
        with pytest.raises(NotFound):
            queries.get_job(session, job_id, PICTURE)
        with pytest.raises(NotFound, match="no file"):
            queries.get_file(session, job_id, "whole.png")
        assert session.scalar(select(func.count()).select_from(Network)) == 1
