"""Commands on atlases against the real API over a real database; what workers would do is written into it."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from safetensors.torch import save_file
from sqlalchemy.orm import sessionmaker
from werkzeug.serving import make_server

from api import create_app
from api.services import EXTENSION, Services
from cli.main import main
from core.recipes import BOLD
from core.settings import Settings
from core.specs import Scope
from db import atlases, leases, networks, tokens
from db.migrate import upgrade
from deepvis.networks import find_source, load_network
from tests.integration import records


@pytest.fixture
def services(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    """The API, served on a free port where the commands look for it; the network "tiny" is described."""
    settings = settings.model_copy(update={"broker_url": "memory://"})
    upgrade(settings.resolved_database_url)
    app = create_app(settings)
    found: Services = app.extensions[EXTENSION]
    with found.sessions.begin() as session:
        records.describe(session)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("DEEPVIS_HOME", str(settings.home))
    monkeypatch.setenv("DEEPVIS_URL", f"http://127.0.0.1:{server.server_port}")
    yield found
    server.shutdown()
    thread.join()
    server.server_close()
    found.sessions.engine.dispose()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="deepvis")


def plan(sessions: "sessionmaker[records.Session]", atlas_id: str) -> list[int]:
    """Plan the atlas as two shards of the layer "conv"; their ids."""
    with sessions.begin() as session:
        records.save_plan(session, atlas_id, records.shards("conv", [(0, 1), (2, 3)], BOLD))
    with sessions() as session:
        return [shard.id for shard in session.query(records.Shard).filter_by(atlas_id=atlas_id)]


def work(sessions: "sessionmaker[records.Session]", shard_id: int, error: str = "") -> None:
    """Do a shard, or fail it for good."""
    with sessions.begin() as session:
        lease = leases.lease_shard(session, shard_id, "worker", 60)
    assert lease is not None
    with sessions.begin() as session:
        if error:
            leases.fail_attempt(session, lease, error, 1)
        else:
            leases.commit_shard(session, lease, records.results(lease))


def submitted(result: Result) -> str:
    """The id of the atlas that was submitted."""
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()[0].split()[1]


def test_an_atlas_is_submitted_with_all_its_wishes(services: Services) -> None:
    wishes = ("--layers", "conv", "--units", "0-2,4", "--recipes", "bold", "--seeds", "2", "--steps", "7")
    result = run("atlas", "tiny", *wishes, "--device", "gpu", "--priority", "batch", "--weight", "2.5")
    atlas_id = submitted(result)
    assert result.stdout.splitlines()[1].endswith(f"/atlases/{atlas_id}")
    with services.sessions() as session:
        atlas = session.get_one(atlases.Atlas, atlas_id)
    spec = atlas.spec
    assert (atlas.owner, atlas.device_kind, atlas.priority, atlas.weight) == ("local", "gpu", "batch", 2.5)
    assert (spec["layers"], spec["units"], spec["seeds"]) == (["conv"], [0, 1, 2, 4], 2)
    assert [(recipe["name"], recipe["steps"]) for recipe in spec["recipes"]] == [("bold", 7)]


def test_an_atlas_is_weighed(services: Services) -> None:
    atlas_id = submitted(run("atlas", "tiny"))
    assert run("weigh", atlas_id, "0.5").output == f"{atlas_id}: weight 0.5\n"
    with services.sessions() as session:
        assert session.get_one(atlases.Atlas, atlas_id).weight == 0.5
    assert run("weigh", atlas_id, "0").exit_code == 2


def test_what_the_api_refuses_is_told_with_its_remedy(services: Services) -> None:
    result = run("atlas", "tiny", "--layers", "cnov")
    assert result.exit_code == 2
    assert "cnov" in result.stderr
    assert "'conv'" in result.stderr


def test_a_complete_atlas_ends_with_its_address(services: Services) -> None:
    atlas_id = submitted(run("atlas", "tiny", "--recipes", "bold"))
    for shard_id in plan(services.sessions, atlas_id):
        work(services.sessions, shard_id)
    another = run("atlas", "tiny", "--recipes", "bold", "--units", "0-1", "--layers", "conv")
    assert run("cancel", submitted(another)).output.endswith(": cancelled\n")
    result = run("status")
    assert "complete" in result.output
    assert "4 of 4" in result.output


def test_waiting_for_an_atlas_with_failures_names_them(services: Services) -> None:
    atlas_id = submitted(run("atlas", "tiny", "--recipes", "bold"))
    first, second = plan(services.sessions, atlas_id)
    work(services.sessions, first)
    work(services.sessions, second, "out of luck")

    tried = threading.Thread(target=_work_when_pending, args=(services, second))
    tried.start()
    result = run("retry", atlas_id, "--wait")
    tried.join()
    assert result.exit_code == 1
    assert "Failed: conv, units 2-3: still out of luck" in result.stderr
    assert "complete with failures" in result.stdout
    assert f"/atlases/{atlas_id}" in result.stdout.splitlines()[-1]


def _work_when_pending(services: Services, shard_id: int) -> None:
    pause = threading.Event()
    for _ in range(200):
        with services.sessions() as session:
            if session.get_one(records.Shard, shard_id).state == "pending":
                break
        pause.wait(0.05)
    work(services.sessions, shard_id, "still out of luck")


def test_a_token_that_asks_too_often_is_waited_for(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    with services.sessions.begin() as session:
        token = tokens.make(session, "alice", Scope.READ, limits=tokens.Limits(requests_per_minute=2))
    monkeypatch.setenv("DEEPVIS_TOKEN", token)
    waits: list[float] = []
    monkeypatch.setattr("cli.client.time.sleep", waits.append)
    assert run("status").exit_code == 0  # two requests
    result = run("status")
    assert result.exit_code == 2
    assert "may ask for 2 requests a minute" in result.stderr
    assert len(waits) == 3
    assert all(1 <= seconds <= 60 for seconds in waits)


def test_a_wrong_token_is_told_with_its_remedy(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPVIS_TOKEN", "dv_wrong")
    result = run("status")
    assert result.exit_code == 2
    assert "DEEPVIS_TOKEN" in result.stderr
    assert "deepvis tokens make" in result.stderr


def test_an_unknown_atlas(services: Services) -> None:
    result = run("cancel", "nothing")
    assert result.exit_code == 2
    assert "nothing" in result.stderr


def test_status_of_an_idle_service(services: Services) -> None:
    result = run("status")
    assert result.exit_code == 0
    assert "0 workers; shards: 0 waiting, 0 running" in result.output
    assert "No atlases yet" in result.output


# --- weights from a file ------------------------------------------------------------


def test_weights_become_a_network_of_their_own(services: Services, tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    state = load_network(find_source("demo")).module.state_dict()
    save_file({name: value + 1 if value.is_floating_point() else value for name, value in state.items()}, path)
    ids = [submitted(run("atlas", "demo", "--weights", str(path))) for _ in range(2)]
    with services.sessions() as session:
        names = {session.get_one(atlases.Atlas, atlas_id).network.name for atlas_id in ids}
        (name,) = names
        source = networks.find(session, name).source
    assert name == f"demo-{source['checkpoint'][:8]}"
    assert services.store.exists(source["checkpoint"])


def test_weights_that_do_not_fit_are_refused_and_nothing_is_kept(services: Services, tmp_path: Path) -> None:
    path = tmp_path / "wrong.safetensors"
    path.write_bytes(b"not safetensors at all")
    result = run("atlas", "demo", "--weights", str(path))
    assert result.exit_code == 2
    assert "Traceback" not in result.stderr
    assert list(services.store.entries()) == []
    with services.sessions() as session:
        assert session.query(atlases.Atlas).count() == 0


def test_weights_for_a_service_with_another_database_say_so(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.safetensors"
    save_file(load_network(find_source("demo")).module.state_dict(), path)
    monkeypatch.setenv("DEEPVIS_DATABASE_URL", f"sqlite:///{tmp_path / 'elsewhere.db'}")
    upgrade(f"sqlite:///{tmp_path / 'elsewhere.db'}")
    result = run("atlas", "demo", "--weights", str(path))
    assert result.exit_code == 2
    assert "another database" in result.stderr
    with services.sessions() as session:
        assert session.query(atlases.Atlas).count() == 0
