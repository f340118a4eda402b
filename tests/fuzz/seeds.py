"""What the fuzzed service holds: networks, atlases and pictures of every kind, so that addresses hit real things."""

from dataclasses import dataclass, field
from math import inf

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.activation_specs import ActivationKind, ActivationResult
from core.collection import Found, Skipped, checked, pack
from core.recipes import BOLD, FOURIER
from core.settings import load_settings
from core.specs import ShardSpec
from core.uploads import limits_of
from db import activations, atlases, networks, planning, probe_sets, searches
from db.leases import commit_shard, fail_attempt, lease_shard
from db.models import Picture, Shard
from db.session import Sessions
from store import PictureStore
from tests import answers
from tests.integration import records
from tests.unit.api.conftest import image_bytes

ODD = "odd@v1.0"
ODD_LAYERS = ("features/0.conv", "block.1/2", "a b", "50%2F", "é+&=?#", "..", "units")
WAITING = "unseen"  # registered, and no worker has looked at it
BROKEN = "broken"  # a worker looked, and it cannot be used
PROBE_SETS = 40
"""So many that not all are soon finished and deleted."""

[(_, ARCHIVE)] = pack([Found("a/9.png", None, image_bytes("PNG", 9)), Found("b/text", None, b"no image")])


@dataclass
class Known:
    """Values of path and query parameters for which there is something, by the parameters' names."""

    name: list[str] = field(default_factory=lambda: ["tiny", ODD, WAITING, BROKEN])
    layer: list[str] = field(default_factory=lambda: ["conv", "hidden", "classes", *ODD_LAYERS])
    unit: list[int] = field(default_factory=lambda: [0, 1, 2, 5])
    recipe: list[str] = field(default_factory=lambda: ["fourier", "bold", FOURIER.content_hash()])
    atlas_id: list[str] = field(default_factory=list)
    picture_id: list[int] = field(default_factory=list)
    search_id: list[str] = field(default_factory=list)
    label: list[str] = field(default_factory=lambda: ["mushrooms", "dog"])
    set: list[str] = field(default_factory=lambda: [answers.SET])
    set_id: list[str] = field(default_factory=list)
    number: list[int] = field(default_factory=lambda: [0, 1])
    key: list[str] = field(default_factory=list)
    job_id: list[str] = field(default_factory=list)
    file: list[str] = field(default_factory=lambda: ["recording.webm", "input"])


def plant(sessions: Sessions, store: PictureStore) -> Known:
    """Fill an empty, migrated database and its store; what is there then."""
    known = Known()
    with sessions.begin() as session:
        _register(session)
    with sessions.begin() as session:
        known.key = [store.put(image_bytes("WEBP", 100)), store.put(b"no picture")]
        _pictures(session, store.put(image_bytes("PNG", 200)), known.key[0])
        known.atlas_id = _atlases(session)
        known.job_id = _jobs(session, store)
    with sessions.begin() as session:
        known.search_id = _answers(session, store)
    known.set_id = [_probe_set(sessions, store, f"set-{number}") for number in range(PROBE_SETS)]
    with sessions() as session:
        known.picture_id = list(session.scalars(select(Picture.id).order_by(Picture.id)))
    return known


def _answers(session: Session, store: PictureStore) -> list[str]:
    """A pass of "tiny" over a probe set, and searches by picture: one that waits, one that is done."""
    network = networks.find(session, "tiny")
    made = answers.add_pass(session, store, network, network.layers, answers.add_set(session, store), lowest=True)
    key = store.put(image_bytes("PNG", 30))
    waiting, done = (searches.create(session, made.pass_id, key).id for _ in range(2))
    searches.finish(session, done, [(network.layers[0].id, 3, 2.5, 99.0, 3.1)])
    return [waiting, done]


def _probe_set(sessions: Sessions, store: PictureStore, name: str) -> str:
    """One with two labelled images and a skipped file, that is being filled."""
    images = [Found(f"{shade}/1.png", f"{shade}", image_bytes("PNG", shade)) for shade in (1, 2)]
    items = list(checked([*images, Skipped("x", "no image")], limits_of(load_settings()), keep=store.put))
    with sessions.begin() as session:
        set_id = probe_sets.begin(session, name, owner="local", origin="seeds").id
    with sessions.begin() as session:
        probe_sets.add(session, set_id, items)
    return set_id


def _register(session: Session) -> None:
    records.describe(session)
    source = records.SOURCE.model_copy(update={"name": ODD})
    layers = [records.layer(name, order, 3) for order, name in enumerate(ODD_LAYERS)]
    records.describe(session, records.info(source, layers))
    for name in (WAITING, BROKEN):
        networks.register(session, records.SOURCE.model_copy(update={"name": name}))
    networks.fail_description(session, BROKEN, "its weights are not there")


def _pictures(session: Session, blob: str, sheet: str) -> None:
    """Units of "conv": with a picture, dead, unbounded, and one of a file that the store lost."""
    none = {"blob": None, "sheet": None, "sheet_index": None, "activation": None}
    rows = [
        records.picture(0, blob=blob, sheet=sheet),
        records.picture(1, state="dead", **none),
        records.picture(2, state="non_finite", **none),
        records.picture(3, blob="0" * 64, sheet="0" * 64, activation=inf),
        records.picture(4, blob=blob, sheet=sheet, activation=-inf),
    ]
    records.store(session, "conv", rows)
    records.store(session, "conv", [records.picture(0, seed=seed, blob=blob, sheet=sheet) for seed in (0, 1)], BOLD)
    records.store(session, ODD_LAYERS[0], [records.picture(0, blob=blob, sheet=sheet)], network=ODD)


def _atlases(session: Session) -> list[str]:
    """One in every state."""
    queued, _ = atlases.create(session, records.wish(), max_open=records.MAX_OPEN)
    unplannable, _ = atlases.create(session, records.wish(), max_open=records.MAX_OPEN)
    lease = planning.begin_planning(session, unplannable.id, 60)
    assert lease is not None
    planning.fail_planning(session, lease, "it does not fit")
    cancelled = records.running_atlas(session)
    atlases.request_cancel(session, cancelled)
    running = records.running_atlas(session)
    return [queued.id, unplannable.id, cancelled, running, _ended(session, fail=False), _ended(session, fail=True)]


def _jobs(session: Session, store: PictureStore) -> list[str]:
    """Activations and recordings: waiting, done, failed, cancelled."""
    ids = []
    for kind in ActivationKind:
        wish = activations.ActivationWish(kind=kind, network="tiny", layers=("conv",))
        for end in ("", "done", "failed", "cancelled"):
            spec = activations.resolve(session, wish)
            sent = activations.Sent("walk", [activations.StoredPart(store.put(b"sent"), 4)])
            job = activations.create(session, spec, sent, owner="local", max_open=records.MAX_OPEN)
            _end_job(session, job.id, end, sent)
            ids.append(job.id)
    return ids


def _end_job(session: Session, job_id: str, end: str, sent: activations.Sent) -> None:
    if end == "cancelled":
        activations.cancel(session, job_id)
    elif end and (lease := activations.begin(session, job_id, "token", 60, 3)):
        if end == "done":
            activations.finish(session, lease, ActivationResult(frames=1), {"recording.webm": sent.parts})
        else:
            activations.fail(session, lease, "out of memory")


def _ended(session: Session, *, fail: bool) -> str:
    plan: list[ShardSpec] = records.shards("classes", [(0, 1, 2)], BOLD if fail else FOURIER)
    atlas_id = records.running_atlas(session, plan)
    shard_id = session.scalars(select(Shard.id).where(Shard.atlas_id == atlas_id)).one()
    lease = lease_shard(session, shard_id, "worker", 60)
    assert lease is not None
    if fail:
        fail_attempt(session, lease, "out of memory", 1)
    else:
        commit_shard(session, lease, records.results(lease))
    return atlas_id
