"""`deepvis doctor` on good and broken set-ups."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from cli.ports import free_port


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DEEPVIS_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def doctor() -> Result:
    return CliRunner().invoke(main, ["doctor"], prog_name="deepvis")


def line(result: Result, name: str) -> str:
    return next(line for line in result.output.splitlines() if line[9:].startswith(f"{name} "))


def test_a_fresh_machine_is_fine() -> None:
    result = doctor()
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[-1] == "Everything needed is there."
    for name in ("Python", "torch", "torchvision", "Settings", "Networks", "Redis", "Database", "Pictures", "Disk"):
        assert line(result, name).startswith("ok ")


def test_everything_broken_is_named_with_its_remedy(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.write_text("a file where a folder should be")
    networks = home.with_name("networks.toml")
    networks.write_text("this is = not TOML [")
    monkeypatch.setenv("DEEPVIS_BROKER_URL", f"redis://127.0.0.1:{free_port()}/0")
    monkeypatch.setenv("DEEPVIS_DATABASE_URL", f"postgresql://nobody@127.0.0.1:{free_port()}/nothing")
    monkeypatch.setenv("DEEPVIS_NETWORKS_FILE", str(networks))
    result = doctor()
    assert result.exit_code == 1
    assert result.output.splitlines()[-1] == "Missing: Home, Networks, Redis, Database, Pictures."
    assert "DEEPVIS_BROKER_URL" in result.output
    assert "DEEPVIS_DATABASE_URL" in result.output


def test_a_database_without_tables_says_how_to_make_them(home: Path) -> None:
    home.mkdir()
    (home / "deepvis.db").touch()
    result = doctor()
    assert result.exit_code == 1
    assert line(result, "Database").startswith("MISSING")
    assert "deepvis db upgrade" in result.output


def test_a_wrong_setting_does_not_hide_the_other_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPVIS_PORT", "many")
    result = doctor()
    assert result.exit_code == 1
    assert line(result, "Settings").startswith("MISSING")
    assert line(result, "torch").startswith("ok ")
