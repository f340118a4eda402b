"""The words of the workers' page."""

from dataclasses import replace

from api.gallery.workers import worker_card, workers_page
from core.specs import ShardKind
from db.queries.metrics import QueueDepth
from db.queries.workers import Job, WorkerDetails, Workforce

JOB = Job(
    atlas_id="01J", network="alexnet", kind=ShardKind.PREFERRED, layer="features.0", units=tuple(range(64)),
    images=(0, -1), recipe="Bold strokes", fraction=0.4, seconds=12.0,
)  # fmt: skip
WORKER = WorkerDetails(
    id="h:1:a", host="gpu-1", pid=1, device="NVIDIA-H100-80GB", device_kind="gpu", versions={"deepvis": "0.1.0"},
    activity="idle", jobs=(JOB,), alive=True, stopped=False, heartbeat_seconds=2.0, up_seconds=7200.0,
    images_done=12_345, shards_done=40, shards_failed=1, images_per_second=3.2, lately_per_second=0.5,
)  # fmt: skip
GONE = replace(WORKER, id="h:2:b", alive=False, jobs=(), heartbeat_seconds=600.0, lately_per_second=None)


def page(*workers: WorkerDetails, queue: tuple[QueueDepth, ...] = (), unplanned: int = 0):
    return workers_page(Workforce(workers=workers, queue=queue, unplanned=unplanned))


def test_a_worker_at_work() -> None:
    card = worker_card(WORKER)
    assert (card.kind, card.host, card.device) == ("GPU", "gpu-1", "NVIDIA H100 80GB, process 1")
    assert (card.state, card.state_class, card.idle) == ("Working", "live", "")
    [job] = card.jobs
    assert (job.what, job.since) == ("units 0–63", "40 %, Bold strokes, for 12 seconds")
    assert job.layer_address == "/networks/alexnet/layers/features.0"
    assert dict(card.numbers) == {
        "Speed": "3 a second", "Pictures": "12,345", "Shards": "40, 1 failed", "Last 5 minutes": "30 a minute",
        "Up": "2 hours", "Heartbeat": "just now",
    }  # fmt: skip


def test_a_worker_at_a_pass_over_a_probe_set() -> None:
    reads = replace(JOB, kind=ShardKind.PROBE, layer=None, units=(), images=(64, 127), recipe="")
    merges = replace(reads, kind=ShardKind.MERGE, images=(0, -1))
    views = replace(JOB, kind=ShardKind.BACKWARD, recipe="")
    one, two, three = worker_card(replace(WORKER, jobs=(reads, merges, views))).jobs
    assert (one.layer, one.what, one.since) == ("all layers", "images 64–127", "40 %, Probe set, for 12 seconds")
    assert (two.what, two.layer_address) == ("all units", "/networks/alexnet")
    assert (three.what, three.since) == ("units 0–63", "40 %, Top images, for 12 seconds")


def test_an_idle_one_and_one_that_plans() -> None:
    idle = replace(WORKER, jobs=(), device="cpu", device_kind="cpu", lately_per_second=0.0, images_per_second=None)
    card = worker_card(idle)
    assert (card.state, card.idle, card.device) == ("Idle", "Waiting for work", "Process 1")
    assert dict(card.numbers)["Speed"] == "not known yet"
    assert dict(card.numbers)["Last 5 minutes"] == "none"
    assert worker_card(replace(idle, activity="planning atlas 01J")).idle == "Planning atlas 01J"


def test_those_that_went() -> None:
    assert (worker_card(GONE).state, worker_card(GONE).state_class) == ("Gone 10 minutes ago", "bad")
    said = worker_card(replace(GONE, stopped=True))
    assert (said.state, said.idle) == ("Stopped 10 minutes ago", "")
    assert [name for name, _ in said.numbers] == ["Speed", "Pictures", "Shards"]


def test_scattered_units_are_counted() -> None:
    job = replace(JOB, units=tuple(range(0, 200, 2)))
    assert worker_card(replace(WORKER, jobs=(job,))).jobs[0].what == "100 units"
    assert worker_card(replace(WORKER, jobs=(replace(JOB, units=(7,)),))).jobs[0].what == "unit 7"


def test_the_summary_adds_up() -> None:
    cpu = replace(WORKER, id="c", device_kind="cpu", jobs=(), lately_per_second=2.5)
    assert page(WORKER, cpu, GONE).summary == ["1 GPU worker, 1 CPU worker", "1 of 2 working", "3 pictures a second"]
    assert page(replace(cpu, lately_per_second=0.0)).summary[-1] == "nothing finished lately"
    assert page(GONE).summary == ["No worker is alive"]


def test_what_keeps_work_from_being_done_is_said() -> None:
    waiting = (QueueDepth("gpu", "batch", 1, 0),)
    assert page(WORKER, queue=waiting).alarm == ""
    assert page(GONE, queue=waiting).alarm == "1 shard waits, and no worker is alive."
    assert page(unplanned=2).alarm == "2 atlases wait, and no worker is alive."
    assert page(replace(WORKER, device_kind="cpu"), queue=waiting).alarm == (
        "Work waits for a GPU, and no worker that is alive has one."
    )
    assert page().alarm == ""
