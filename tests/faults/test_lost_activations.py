"""Activations whose worker, message, network or reason is lost in the middle."""

import io

import pytest
from sqlalchemy import select, update

from broker.messages import send_activations
from core.activation_specs import ActivationKind
from core.uploads import encode_clean
from db import activations, clock
from db.activation_models import ActivationJob, JobState
from db.activations import ActivationWish, Sent, StoredPart
from db.models import Network
from db.queries import activations as queries
from store.parts import put_parts
from tests.services import Installation, Worker, wait_until
from tests.videos import pictures, video

pytestmark = pytest.mark.faults

LONG = 800
"""Frames of a video that takes a worker many seconds."""


def ask(installation: Installation, data: bytes, kind: ActivationKind, *, send: bool = True) -> str:
    """Ask for the activations of the demo network's first layer; `send=False` loses the message."""
    sent = [StoredPart(*part) for part in put_parts(installation.store, io.BytesIO(data))]
    with installation.sessions() as session:
        spec = activations.resolve(session, ActivationWish(kind=kind, network="demo", layers=("conv1",), data=False))
    with installation.sessions.begin() as session:
        job_id = activations.create(session, spec, Sent("", sent), owner="local", max_open=99).id
    if send:
        send_activations(installation.celery, job_id, kind)
    return job_id


def record(installation: Installation, frames: int) -> str:
    return ask(installation, video(frames, rate=30), ActivationKind.RECORDING)


def look(installation: Installation, job_id: str) -> queries.ActivationView:
    with installation.sessions() as session:
        return queries.get_job(session, job_id)


def wait_begun(installation: Installation, job_id: str, frames: int = 1) -> None:
    wait_until(lambda: look(installation, job_id).done >= frames, 60, "some frames")


def wait_state(installation: Installation, job_id: str, state: JobState, seconds: float = 90) -> queries.ActivationView:
    wait_until(lambda: look(installation, job_id).state == state, seconds, f"activations {state}")
    return look(installation, job_id)


def test_a_killed_workers_recording_is_made_by_another(installation: Installation) -> None:
    with installation.worker() as victim:
        installation.wait_described()
        job_id = record(installation, 300)
        wait_begun(installation, job_id)
        victim.kill()
    assert look(installation, job_id).state == JobState.RUNNING
    with installation.worker():
        done = wait_state(installation, job_id, JobState.DONE)
    assert (done.result.frames, done.error) == (300, None)
    assert installation.scalar(select(ActivationJob.attempts)) == 2


def test_a_stopping_worker_leaves_its_recording_to_another(installation: Installation) -> None:
    with installation.worker() as first:
        installation.wait_described()
        job_id = record(installation, LONG)
        wait_begun(installation, job_id)
        first.terminate()
        assert first.wait() == 0
    left = look(installation, job_id)
    assert left.state == JobState.QUEUED
    assert installation.scalar(select(ActivationJob.attempts)) == 0


@pytest.mark.parametrize("deleted", [False, True])
def test_a_recording_given_up_frees_its_worker(installation: Installation, deleted: bool) -> None:
    with installation.worker() as worker:
        installation.wait_described()
        job_id = record(installation, LONG)
        wait_begun(installation, job_id)
        with installation.sessions.begin() as session:
            activations.delete(session, job_id) if deleted else activations.cancel(session, job_id)
        picture = encode_clean(next(pictures(1)))
        wait_state(installation, ask(installation, picture, ActivationKind.PICTURE), JobState.DONE, 20)
        assert len(worker.children()) == 1
        assert "Traceback" not in worker.log


def test_a_lost_message_is_sent_again(installation: Installation) -> None:
    with installation.worker():
        installation.wait_described()
        job_id = ask(installation, encode_clean(next(pictures(1))), ActivationKind.PICTURE, send=False)
        with installation.sessions.begin() as session:
            long_ago = clock.after(clock.now(session), -2 * activations.STALE_SECONDS)
            session.execute(update(ActivationJob).values(requested_at=long_ago))
        wait_state(installation, job_id, JobState.DONE, 30)


def test_what_cannot_be_done_is_said_and_the_worker_goes_on(installation: Installation) -> None:
    with installation.worker() as worker:
        installation.wait_described()
        good = encode_clean(next(pictures(1)))
        broken = ask(installation, b"no picture at all", ActivationKind.PICTURE)
        assert "no picture of a known format" in (wait_state(installation, broken, JobState.FAILED).error or "")
        with installation.sessions.begin() as session:
            session.execute(update(Network).where(Network.name == "demo").values(weights_hash="f" * 64))
        gone = ask(installation, good, ActivationKind.PICTURE)
        assert "are not those it was described with" in (wait_state(installation, gone, JobState.FAILED).error or "")
        check_usable(installation, worker)


def check_usable(installation: Installation, worker: Worker) -> None:
    """The worker still answers: it is the same process, idle."""
    assert worker.process.poll() is None
    assert len(worker.children()) == 1
