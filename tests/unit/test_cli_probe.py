"""`deepvis probe` against the real API over a real database."""

import io
import json
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from api.services import Services
from cli import client as clients
from cli import probe_fill
from core.collection import packing
from core.errors import NotReady
from core.settings import load_settings
from db import probe_sets
from db.queries import probe_sets as queries
from tests.unit.test_cli_atlases import run, services

__all__ = ["services"]


def png(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6), (shade, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six images of two labels, a duplicate, and a file that is no image."""
    root = tmp_path / "animals"
    for number in range(6):
        path = root / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(number))
    (root / "b" / "same.png").write_bytes(png(0))
    (root / "b" / "notes.txt").write_text("none")
    return root


def show(name: str) -> dict[str, object]:
    result = run("probe", "show", name, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, object] = json.loads(result.output)
    return found


def names_of(services: Services, name: str) -> list[tuple[str, str | None]]:
    with services.sessions() as session:
        items = queries.list_images(session, queries.find_id(session, name)).items
    return [(item.name, item.label) for item in items]


ANIMALS = [("a/0.png", "a"), ("a/2.png", "a"), ("a/4.png", "a"), ("b/1.png", "b"), ("b/3.png", "b"), ("b/5.png", "b")]


def test_a_folder_becomes_a_set(services: Services, folder: Path) -> None:
    result = run("probe", "add", "animals", str(folder))
    assert result.exit_code == 0, result.output
    assert "Probe set animals: ready, 6 images" in result.output
    assert "1 files that are no images, 1 duplicates" in result.output
    assert names_of(services, "animals") == ANIMALS
    found = show("animals")
    assert (found["origin"], found["in_place"], found["labels"]) == ("folder animals", False, ["a", "b"])
    assert {skip["name"] for skip in found["skips"]} == {"b/notes.txt", "b/same.png"}  # type: ignore[attr-defined]
    shown = run("probe", "show", "animals").output
    assert "b/same.png" in shown and "It is the same as a/0.png." in shown
    assert "animals" in run("probe", "list").output


def test_in_place_the_images_stay_where_they_are(services: Services, folder: Path) -> None:
    result = run("probe", "add", "animals", str(folder), "--in-place")
    assert result.exit_code == 0, result.output
    assert names_of(services, "animals") == ANIMALS
    assert list(services.store.entries()) == []
    found = show("animals")
    assert (found["origin"], found["in_place"]) == (str(folder), True)
    again = run("probe", "add", "animals", str(folder), "--in-place")
    assert again.exit_code == 2 and "already" in again.output
    with services.sessions() as session:
        assert queries.get_root(session, str(found["id"])) == str(folder)


def test_both_ways_make_the_same_content(services: Services, folder: Path) -> None:
    run("probe", "add", "one", str(folder))
    run("probe", "add", "two", str(folder), "--in-place")
    assert show("one")["content_hash"] == show("two")["content_hash"]


def test_archives_and_shards_become_sets(services: Services, folder: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "animals.tgz", "w:gz") as archive:
        archive.add(folder, "animals")
    assert run("probe", "add", "tar", str(tmp_path / "animals.tgz")).exit_code == 0
    assert sorted(names_of(services, "tar")) == sorted(ANIMALS) or len(names_of(services, "tar")) == 6
    shards = tmp_path / "shards"
    shards.mkdir()
    for number in range(2):
        with tarfile.open(shards / f"{number}.tar", "w") as archive:
            for name, data in ((f"{number}.png", png(number)), (f"{number}.cls", b"%d" % (1 - number))):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    assert run("probe", "add", "shards", str(shards)).exit_code == 0
    assert names_of(services, "shards") == [("0.tar:0.png", "1"), ("1.tar:1.png", "0")]
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    paths = [str(shards / "0.tar"), str(shards / "1.tar")]
    assert run("probe", "add", "named", *paths, "--labels", str(tmp_path / "labels.txt")).exit_code == 0
    assert [label for _, label in names_of(services, "named")] == ["dog", "cat"]
    assert run("probe", "add", "none", str(folder), "--labels", "none").exit_code == 0
    assert {label for _, label in names_of(services, "none")} == {None}


def test_the_generated_pictures_become_a_set(services: Services) -> None:
    from deepvis.networks.demo import LABELS

    assert run("probe", "add", "demo", "demo").exit_code == 0
    found = show("demo")
    assert found["labels"] == list(LABELS) and found["images"] == 600
    assert [label for _, label in names_of(services, "demo")][:13] == [*LABELS, LABELS[0]]


def test_after_an_interruption_the_same_command_goes_on(
    services: Services, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "MOST_FILES", 3)
    send, sent = clients.Client.add_images, []

    def interrupted(client: clients.Client, set_id: str, archive: bytes) -> object:
        if len(sent) == 1:
            raise KeyboardInterrupt
        sent.append(set_id)
        return send(client, set_id, archive)

    with monkeypatch.context() as patch:
        patch.setattr(clients.Client, "add_images", interrupted)
        assert run("probe", "add", "animals", str(folder)).exit_code == 1
    assert "filling" in run("probe", "list").output
    assert run("probe", "add", "animals", str(folder)).exit_code == 0
    assert names_of(services, "animals") == ANIMALS
    assert (show("animals")["duplicates"], show("animals")["skipped"]) == (1, 1)


@pytest.mark.parametrize("in_place", [[], ["--in-place"]], ids=["sent", "in place"])
def test_an_interrupted_set_goes_on_with_its_own_labels_only(
    services: Services, folder: Path, tmp_path: Path, in_place: list[str]
) -> None:
    (tmp_path / "labels.txt").write_text("b\na\n")
    (tmp_path / "others.txt").write_text("a\nb\n")
    root, origin = (str(folder), str(folder)) if in_place else (None, "folder animals")
    with services.sessions.begin() as session:
        probe_sets.begin(session, "given", owner="local", origin=origin, labels=["b", "a"], root=root)
        probe_sets.begin(session, "came", owner="local", origin=origin, root=root)
    add = ("probe", "add", "given", str(folder), *in_place)
    for wrong in ((), ("--labels", "none"), ("--labels", str(tmp_path / "others.txt"))):
        result = run(*add, *wrong)
        assert result.exit_code == 2 and "begun with other labels" in result.output, result.output
    result = run("probe", "add", "came", str(folder), *in_place, "--labels", "none")
    assert "begun with other labels" in result.output
    assert run(*add, "--labels", str(tmp_path / "labels.txt")).exit_code == 0
    assert run("probe", "add", "came", str(folder), *in_place).exit_code == 0
    assert show("given")["labels"] == ["b", "a"]


def test_the_demo_leaves_a_set_that_is_called_demo(services: Services, capsys: pytest.CaptureFixture[str]) -> None:
    with services.sessions.begin() as session:
        probe_sets.begin(session, "demo", owner="local", origin="elsewhere")
    settings = load_settings()  # from the environment: they say where the service is
    with clients.Client(settings) as client:
        probe_fill.add_demo_set(client, settings)
    assert "from elsewhere" in capsys.readouterr().err
    with services.sessions() as session:
        assert queries.get_set(session, queries.find_id(session, "demo")).images == 0


def test_a_lost_answer_is_asked_for_again(services: Services, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_fill, "PAUSE_SECONDS", 0.0)
    send, lost = clients.Client.add_images, []

    def loses_answers(client: clients.Client, set_id: str, archive: bytes) -> object:
        answer = send(client, set_id, archive)
        if len(lost) < 2:
            lost.append(answer)
            raise NotReady("The connection broke.")
        return answer

    monkeypatch.setattr(clients.Client, "add_images", loses_answers)
    result = run("probe", "add", "animals", str(folder))
    assert result.exit_code == 0 and result.output.count("Trying again") == 2
    assert names_of(services, "animals") == ANIMALS


def test_an_empty_result_is_an_error_and_leaves_nothing(services: Services, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "notes.txt").write_text("none")
    for options in ((), ("--in-place",)):
        result = run("probe", "add", "empty", str(empty), *options)
        assert result.exit_code == 2 and "no image in the probe set" in result.stderr
        assert "No probe sets yet" in run("probe", "list").output


def test_what_cannot_be_added_is_said(services: Services, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "text.zip").write_text("hello")
    for arguments, words in (
        (("x", str(tmp_path / "gone")), "no file or folder"),
        (("x", str(tmp_path / "text.zip")), "no zip, and no tar"),
        (("x", str(folder), str(folder)), "Several folders"),
        (("x", "demo", "--in-place"), "Only a folder"),
        (("a/b", str(folder)), "name"),
        (("x", str(folder), "--labels", str(tmp_path / "gone")), "labels cannot be read"),
    ):
        result = run("probe", "add", *arguments)
        assert result.exit_code == 2 and words in result.stderr, (arguments, result.output)
    (tmp_path / "nothing").mkdir()
    assert "no file in" in run("probe", "add", "x", str(tmp_path / "nothing")).stderr
    assert "No probe sets yet" in run("probe", "list").output


def test_removing_a_set(services: Services, folder: Path) -> None:
    run("probe", "add", "animals", str(folder))
    assert run("probe", "add", "animals", str(folder)).exit_code == 2
    assert run("probe", "remove", "animals").output == "The probe set 'animals' is deleted.\n"
    result = run("probe", "remove", "animal")
    assert result.exit_code == 2 and "no probe set 'animal'" in result.stderr
    assert run("probe", "add", "animals", str(folder)).exit_code == 0
