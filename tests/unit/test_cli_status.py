"""What `deepvis status` says of workers."""

import pytest

from cli import status


def worker(name: str, *, alive: bool) -> dict[str, object]:
    return {"id": name, "host": "h", "device": "cpu", "alive": alive, "activity": f"shard of {name}", "images_done": 3}


def test_what_silent_workers_last_did_is_not_told_as_what_they_do(capsys: pytest.CaptureFixture[str]) -> None:
    status._print_workers([worker("lives", alive=True), worker("silent", alive=False)])
    said = capsys.readouterr().out
    assert "shard of lives" in said
    assert "shard of silent" not in said
    assert said.endswith("Silent, and taken as gone: silent\n")


def test_without_workers_there_is_no_table(capsys: pytest.CaptureFixture[str]) -> None:
    status._print_workers([])
    assert capsys.readouterr().out == ""
