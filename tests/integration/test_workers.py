"""A worker process against a real Redis and database: from a wish to pictures."""

from collections import Counter
from collections.abc import Iterator

import pytest
from sqlalchemy import update

from core.recipes import resolve
from core.specs import AtlasSpec
from db import atlases, networks, planning
from db.models import Atlas, Network, NetworkState, Worker
from deepvis.pictures import read_picture
from tests.services import Installation, running_postgres, wait_until

pytestmark = pytest.mark.integration

WISH = AtlasSpec(
    network="demo", layers=("conv1", "conv2"), units=(0, 3, 5), recipes=resolve(["fourier", "bold"], 4), seeds=2
)
LONG = AtlasSpec(network="demo", layers=("classes",), units=(0,), recipes=resolve(["bold"], 10_000), seeds=9)


def missing_or_double(installation: Installation, wish: AtlasSpec) -> Counter:
    """How often each wanted picture exists, where that is not once."""
    hashes = [recipe.content_hash() for recipe in wish.recipes]
    with installation.sessions() as session:
        layers = {layer.id: layer.name for layer in networks.find(session, wish.network).layers}
    found = Counter((layers[p.layer_id], p.recipe_hash, p.unit, p.seed) for p in installation.pictures())
    wanted = {(la, h, u, s) for la in wish.layers for h in hashes for u in wish.units for s in range(wish.seeds)}
    return Counter({address: found[address] for address in wanted | set(found) if found[address] != 1})


@pytest.fixture(params=["sqlite", "postgresql"])
def anywhere(request, tmp_path, redis) -> Iterator[Installation]:
    """An installation on each kind of database."""
    redis.flush()
    if request.param == "sqlite":
        made = Installation(tmp_path / "home", redis.url)
        yield made
        made.close()
    else:
        with running_postgres() as url:
            made = Installation(tmp_path / "home", redis.url, database_url=url)
            yield made
            made.close()


def test_from_a_wish_to_pictures_and_again(anywhere: Installation):
    with anywhere.worker() as worker:
        anywhere.wait_described()
        atlas = anywhere.wait_state(anywhere.create(WISH), "complete", "failed")

        assert (atlas.state, atlas.error) == ("complete", None)
        assert atlas.images == anywhere.count_pictures() == 2 * 3 * 2 * 2
        assert missing_or_double(anywhere, WISH) == {}
        check_pictures(anywhere)
        check_worker_row(anywhere, worker.children()[-1])

        before = [picture.id for picture in anywhere.pictures()]
        again = anywhere.create(WISH)
        anywhere.wait_state(again, "complete")
        assert [picture.id for picture in anywhere.pictures()] == before
        assert all(shard.attempts == 0 for shard in anywhere.shards(again))

        more = WISH.model_copy(update={"units": (0, 3, 5, 7)})
        anywhere.wait_state(anywhere.create(more), "complete")
        assert missing_or_double(anywhere, more) == {}
        assert [p.id for p in anywhere.pictures()][: len(before)] == before

        worker.terminate()
        assert worker.wait() == 0
    assert anywhere.scalar(Worker.__table__.select().with_only_columns(Worker.stopped_at)) is not None


def check_pictures(installation: Installation) -> None:
    """Every picture can be read, is of its window's size, and has a tile of its own on a sheet of its seed."""
    pictures = installation.pictures()
    for picture in pictures:
        pixels = read_picture(installation.store.get(picture.blob), max_pixels=10**6)
        assert pixels.shape == (picture.height, picture.width, 3)
        assert (picture.device[:3], picture.precision) == ("cpu", "float32")
        assert installation.store.exists(picture.sheet)
    places = Counter((picture.sheet, picture.sheet_index) for picture in pictures)
    assert set(places.values()) == {1}


def check_worker_row(installation: Installation, pid: int) -> None:
    with installation.sessions() as session:
        [row] = session.query(Worker).all()
    assert (row.pid, row.device, row.queues) == (pid, "cpu", "deepvis.any,deepvis.cpu")
    assert row.images_done == installation.count_pictures()
    assert row.busy_seconds > 0
    assert set(row.versions) == {"deepvis", "torch", "torchvision", "celery"}


def test_an_atlas_of_a_network_nobody_has_looked_at(installation: Installation):
    wish = AtlasSpec(network="squeezenet1_1@random", recipes=resolve(["bold"], 1))
    with installation.worker():
        installation.wait_described()
        atlas_id = installation.create(wish)
        installation.wait_state(atlas_id, "running")
        assert len(installation.shards(atlas_id)) >= 26
        with installation.sessions.begin() as session:
            atlases.request_cancel(session, atlas_id)


def test_an_atlas_that_turns_out_to_be_too_many_images_is_not_planned(installation: Installation):
    wish = AtlasSpec(network="squeezenet1_1@random", recipes=resolve(["bold"], 1))
    with installation.worker(max_images_per_day=1000):
        installation.wait_described()
        atlas = installation.wait_state(installation.create(wish), "failed")
    assert "may ask for 1000 unit-images in 24 hours" in atlas.error
    assert installation.shards(atlas.id) == []


def test_cancelling_stops_the_running_shard_and_the_worker_goes_on(installation: Installation):
    with installation.worker():
        installation.wait_described()
        atlas_id = installation.create(LONG)
        wait_until(lambda: any(shard.fraction > 0 for shard in installation.shards(atlas_id)), what="a running shard")

        with installation.sessions.begin() as session:
            atlases.request_cancel(session, atlas_id)

        wait_until(lambda: {s.state for s in installation.shards(atlas_id)} == {"cancelled"}, 10, "cancelled shards")
        assert installation.count_pictures() == 0
        installation.wait_state(installation.create(WISH), "complete", seconds=20)


def test_shards_that_keep_failing_are_named_and_can_be_tried_again(installation: Installation):
    with installation.worker():
        installation.wait_described()
        right = installation.scalar(
            Network.__table__.select().with_only_columns(Network.weights_hash).where(Network.name == "demo")
        )
        set_weights_hash(installation, "f" * 64)
        spec = WISH.model_copy(update={"recipes": resolve(["bold"], 2)})
        with installation.sessions.begin() as session:
            atlas, _ = atlases.create(session, spec, max_open=9)
            atlas_id = atlas.id
        plan_by_hand(installation, atlas_id)

        installation.wait_state(atlas_id, "complete_with_failures")
        shards = installation.shards(atlas_id)
        assert [shard.attempts for shard in shards] == [3, 3]
        assert all("weights of 'demo' on this worker" in shard.error for shard in shards)

        set_weights_hash(installation, right)
        with installation.sessions.begin() as session:
            assert atlases.retry_failed(session, atlas_id) == 2
        installation.wait_state(atlas_id, "complete")
        assert missing_or_double(installation, spec) == {}


def set_weights_hash(installation: Installation, weights_hash: str) -> None:
    with installation.sessions.begin() as session:
        session.execute(update(Network).where(Network.name == "demo").values(weights_hash=weights_hash))


def plan_by_hand(installation: Installation, atlas_id: str, shard_seconds: float = 1.0) -> None:
    """A plan that no worker made, as if a step of an image took a millisecond."""
    from core.specs import LayerInfo, NetworkInfo, NetworkSource
    from workers.planning import cut

    with installation.sessions.begin() as session:
        lease = planning.begin_planning(session, atlas_id, 60)
        spec = lease.spec
    with installation.sessions() as session:
        network = networks.find(session, spec.network)
        info = NetworkInfo(
            source=NetworkSource.model_validate(network.source),
            weights_hash=network.weights_hash,
            input_shape=network.input_shape,
            mean=network.mean,
            std=network.std,
            parameters=network.parameters,
            layers=[LayerInfo.model_validate(layer.info) for layer in network.layers],
        )
    with installation.sessions.begin() as session:
        planning.extend_plan(session, lease, 0, list(cut(info, spec, lambda _: 0.001, shard_seconds)))
        planning.finish_planning(session, lease)


def test_work_whose_messages_were_lost_is_done_all_the_same(installation: Installation):
    with installation.worker():
        installation.wait_described()
        atlas_id = installation.create(WISH, send=False)
        with installation.sessions.begin() as session:  # as if it had waited for a while
            created = session.get_one(Atlas, atlas_id).created_at
            session.execute(update(Atlas).values(created_at=created.replace(year=created.year - 1)))

        installation.wait_state(atlas_id, "complete", seconds=30)
        assert missing_or_double(installation, WISH) == {}


def test_two_workers_share_the_work(installation: Installation):
    units = tuple(range(12))
    wish = AtlasSpec(network="demo", layers=("conv1",), units=units, recipes=resolve(["bold", "soft", "etched"], 150))
    with installation.worker(shard_seconds=0.01) as one, installation.worker(shard_seconds=0.01) as two:
        one.wait_ready()
        two.wait_ready()
        installation.wait_described()
        atlas_id = installation.create(wish)
        installation.wait_state(atlas_id, "complete")

        makers = {shard.lease_worker.split(":")[1] for shard in installation.shards(atlas_id)}
        assert makers == {str(one.children()[-1]), str(two.children()[-1])}
        assert missing_or_double(installation, wish) == {}


def test_a_task_over_its_time_limit_is_a_failed_attempt(installation: Installation):
    with installation.worker(task_seconds=2, max_attempts=1):
        installation.wait_described()
        atlas_id = installation.create(LONG)

        installation.wait_state(atlas_id, "complete_with_failures", seconds=30)
        [shard] = installation.shards(atlas_id)
        assert "SoftTimeLimitExceeded" in shard.error
        installation.wait_state(installation.create(WISH), "complete")


def test_a_worker_without_tables_says_what_to_do(tmp_path, redis):
    from tests.services import Worker as WorkerProcess
    from tests.services import environment

    with WorkerProcess(environment(tmp_path, redis.url)) as worker:
        assert worker.wait(30) == 2
        assert "deepvis db upgrade" in worker.log


def test_a_worker_that_cannot_start_ends_as_a_failure(installation: Installation):
    installation.env["CUDA_VISIBLE_DEVICES"] = ""
    with installation.worker(device="cuda") as worker:
        assert worker.wait(30) == 1
        assert "no CUDA device" in worker.log


def test_networks_of_the_operator_are_described_by_themselves(installation: Installation, tmp_path):
    networks_file = tmp_path / "networks.toml"
    networks_file.write_text(
        '[networks.small]\nfactory = "tests.faults.networks:small"\ninput_shape = [1, 16, 16]\n'
        '[networks.hungry]\nfactory = "tests.faults.networks:hungry"\n'
    )
    with installation.worker(networks_file=networks_file):
        installation.wait_described("small")
        installation.wait_described("hungry")
        with installation.sessions() as session:
            assert networks.find(session, "small").state == NetworkState.DESCRIBED
            hungry = networks.find(session, "hungry")
        assert hungry.state == NetworkState.FAILED
        assert "MemoryError" in hungry.error
        small = AtlasSpec(network="small", recipes=resolve(["bold"], 2))
        installation.wait_state(installation.create(small), "complete", seconds=20)
