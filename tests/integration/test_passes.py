"""Worker processes put a probe set through a network: the same as one pass in one process, whatever happens."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import select

from broker.messages import send_plan, send_search
from core.recipes import resolve
from core.specs import AtlasSpec, BackwardKind, ProbeWish, ShardKind
from core.uploads import encode_clean
from db import probe_sets, searches
from db.models import Layer
from db.probe_models import PictureSearch, ProbeSkip, SearchState
from db.queries.atlases import get_atlas
from deepvis.networks.demo import LABELS
from deepvis.networks.demo.pictures import picture_files
from tests.integration import passes
from tests.services import Installation, wait_until

pytestmark = pytest.mark.integration

IMAGES = 250


@pytest.fixture
def quick(tmp_path: Path, redis) -> Installation:
    redis.flush()
    made = Installation(tmp_path / "home", redis.url, **passes.SHARDS)
    yield made
    made.close()


def test_two_workers_find_what_one_pass_finds(quick: Installation):
    with quick.worker() as one, quick.worker() as other:
        one.wait_ready()
        other.wait_ready()
        quick.wait_described()
        set_id = passes.add_set(quick, images=IMAGES)
        atlas_id = quick.create(passes.wish(set_id))
        atlas = quick.wait_state(atlas_id, "complete", "failed", "complete_with_failures")
        assert (atlas.state, atlas.error) == ("complete", None)
    kinds = [shard.kind for shard in quick.shards(atlas_id)]
    assert kinds.count(ShardKind.PROBE) == 3  # of 100, 100 and 50 images
    assert kinds.count(ShardKind.MERGE) == 1
    assert atlas.images == IMAGES + 2 * 2 * 9 * 2  # and two units of two layers, nine images at each end
    passes.check_pass(quick, atlas_id, IMAGES)
    check_views(quick, atlas_id)


def check_views(quick: Installation, atlas_id: str) -> None:
    """Crops and three backward views of each unit at both ends, nine pictures of one size in each."""
    rows = passes.views(quick, atlas_id)
    assert len(rows) == 2 * 2 * 2 * 4
    for row in rows:
        assert (row.count, row.columns, row.why) == (9, 3, None)
        with Image.open(io.BytesIO(quick.store.get(row.blob or ""))) as mosaic:
            assert (mosaic.format, mosaic.size) == ("WEBP", (3 * row.width, 3 * row.height))
            pixels = np.asarray(mosaic.convert("RGB"))
        tiles = {pixels[y : y + row.height, x : x + row.width].tobytes() for y, x in corners(row.height, row.width)}
        if row.kind != BackwardKind.DECONVOLUTION:  # without max pooling, it does not depend on the picture
            assert len(tiles) > 1, (row.unit, row.kind)
        assert (row.sheet is not None) == (row.side == "top" and row.kind == "crop")
        assert [box[2:] for box in row.boxes] == ([[row.width, row.height]] * 9 if row.kind == "crop" else [])


def corners(height: int, width: int) -> list[tuple[int, int]]:
    return [(y * height, x * width) for y in range(3) for x in range(3)]


def test_a_class_unit_answers_to_its_class_and_a_picture_finds_it(quick: Installation):
    with quick.worker() as worker:
        worker.wait_ready()
        quick.wait_described()
        set_id = passes.add_set(quick, images=60)
        atlas_id = quick.create(passes.wish(set_id, ("classes",), backward=()))
        quick.wait_state(atlas_id, "complete")
        rows, layer_id = passes.answers(quick, atlas_id), passes.layer_ids(quick)["classes"]
        tops = {unit: image for la, side, unit, rank, image, *_ in passes.stored_tops(quick, atlas_id)
                if (la, side, rank) == (layer_id, "top", 0)}  # fmt: skip
        assert [image % len(LABELS) for _, image in sorted(tops.items())] == list(range(len(LABELS)))
        assert {row.selectivity is not None and row.selectivity > 0.5 for row in rows.values()} == {True}

        _, label, data = list(picture_files(200))[-1]
        found = search(quick, passes.pass_of(quick, atlas_id).id, data)
        assert (found.state, found.error) == (SearchState.DONE, None)
        best = found.result[0]
        assert best[:2] == [layer_id, LABELS.index(label)]
        assert best[3] > 80
        nothing = search(quick, passes.pass_of(quick, atlas_id).id, b"no picture", clean=False)
        assert nothing.state == SearchState.FAILED
        assert "no picture of a known format" in str(nothing.error)


def search(quick: Installation, pass_id: int, data: bytes, *, clean: bool = True) -> PictureSearch:
    if clean:
        with Image.open(io.BytesIO(data)) as image:
            data = encode_clean(image.convert("RGB"))
    with quick.sessions.begin() as session:
        search_id = searches.create(session, pass_id, quick.store.put(data)).id
    send_search(quick.celery, search_id)
    state = select(PictureSearch.state).where(PictureSearch.id == search_id)
    wait_until(lambda: quick.scalar(state) != SearchState.QUEUED, what="an answer")
    with quick.sessions() as session:
        return session.get_one(PictureSearch, search_id)


def test_what_changed_in_its_folder_is_skipped_and_listed(quick: Installation, tmp_path: Path):
    folder = tmp_path / "pictures"
    set_id = passes.add_set(quick, images=30, root=folder)
    names = [name for name, *_ in picture_files(30)]
    (folder / names[4]).write_bytes((folder / names[5]).read_bytes())
    (folder / names[7]).unlink()
    with quick.worker() as worker:
        worker.wait_ready()
        quick.wait_described()
        atlas_id = quick.create(passes.wish(set_id, backward=("gradient",)))
        assert quick.wait_state(atlas_id, "complete", "failed", "complete_with_failures").state == "complete"
    assert passes.pass_of(quick, atlas_id).images == 28
    with quick.sessions() as session:
        assert get_atlas(session, atlas_id).unread_images == 2
    with quick.sessions() as session:
        skipped = dict(session.execute(select(ProbeSkip.name, ProbeSkip.reason)).all())
    assert set(skipped) == {names[4], names[7]}
    assert "not what it was" in skipped[names[4]]
    assert "gone" in skipped[names[7]]
    assert {image for *_, image, _, _ in passes.stored_tops(quick, atlas_id)} == set(range(30)) - {4, 7}


def test_a_set_deleted_before_its_turn_ends_the_atlas_with_the_reason(quick: Installation):
    with quick.worker() as worker:
        worker.wait_ready()
        quick.wait_described()
        set_id = passes.add_set(quick, images=20)
        atlas_id = quick.create(passes.wish(set_id), send=False)
        with quick.sessions.begin() as session:
            probe_sets.delete(session, set_id)
        send_plan(quick.celery, atlas_id)
        atlas = quick.wait_state(atlas_id, "failed", "complete")
    assert atlas.state == "failed"
    assert "was deleted" in str(atlas.error)


def test_an_atlas_makes_both_halves(quick: Installation):
    with quick.worker() as worker:
        worker.wait_ready()
        quick.wait_described()
        set_id = passes.add_set(quick, images=20)
        probe = ProbeWish(set=set_id, top=2, backward=(BackwardKind.GUIDED,))
        spec = AtlasSpec(network="demo", layers=("conv2",), units=(1,), recipes=resolve(["bold"], 3), probe=probe)
        atlas_id = quick.create(spec)
        assert quick.wait_state(atlas_id, "complete", "failed", "complete_with_failures").state == "complete"
    assert quick.count_pictures() == 1
    assert [(row.kind, row.count) for row in passes.views(quick, atlas_id)] == [("crop", 2), ("guided", 2)]
    with quick.sessions() as session:
        units = session.scalar(select(Layer.units).where(Layer.name == "conv2"))
    assert len(passes.answers(quick, atlas_id)) == units
