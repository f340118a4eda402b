"""The log: one form for everything, ids from the surroundings, outages in one line."""

import io
import json
import logging
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest

from cli.logs import readable
from core import logs
from core.errors import BadSetting
from core.logs import carried, identify, log_context

log = logging.getLogger("tests.logs")
Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """What is set up for the whole process is put back."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    hooks = sys.excepthook, threading.excepthook
    yield
    root.handlers[:], root.level = handlers, level
    sys.excepthook, threading.excepthook = hooks
    logging.captureWarnings(False)
    logs._identity.clear()


@pytest.fixture
def written() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def lines(written: io.StringIO) -> Lines:
    """Logging set up as JSON; what was logged since."""
    logs.set_up("json", "INFO", stream=written)
    return lambda: [json.loads(line) for line in written.getvalue().splitlines()]


def test_a_line_says_when_who_and_what(lines: Lines) -> None:
    log.warning("%d units\nof two lines", 3)
    [line] = lines()
    assert line["message"] == "3 units\nof two lines"
    assert (line["level"], line["logger"]) == ("WARNING", "tests.logs")
    assert line["time"].endswith("Z")
    assert datetime.fromisoformat(line["time"]).utcoffset().total_seconds() == 0
    assert "shard" not in line


def test_ids_come_from_the_surroundings(lines: Lines) -> None:
    identify(worker="w1")
    with log_context(atlas="a"):
        with log_context(shard=7, layer="conv1"):
            log.info("inside")
        log.info("outside", extra={"seconds": 1.5})
    inside, outside = lines()
    assert {"worker": "w1", "atlas": "a", "shard": 7, "layer": "conv1"}.items() <= inside.items()
    assert {"worker": "w1", "atlas": "a", "seconds": 1.5}.items() <= outside.items()
    assert "shard" not in outside


def test_threads_know_only_what_is_carried_to_them(lines: Lines) -> None:
    with ThreadPoolExecutor(1) as pool:
        for shard in (1, 2):
            with log_context(shard=shard):
                pool.submit(carried(log.info), f"carried {shard}").result()
                pool.submit(log.info, "bare").result()
    assert [(line["message"], line.get("shard")) for line in lines()] == [
        ("carried 1", 1), ("bare", None), ("carried 2", 2), ("bare", None),
    ]  # fmt: skip


def fail(error: BaseException) -> None:
    try:
        raise error
    except BaseException:
        log.exception("it failed")


def test_what_nobody_foresaw_has_its_traceback_on_the_same_line(lines: Lines) -> None:
    fail(ValueError("what"))
    [line] = lines()
    assert line["message"] == "it failed"
    assert line["exception"].splitlines()[0] == "Traceback (most recent call last):"
    assert line["exception"].endswith("ValueError: what")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "it failed: [Errno 111] Connection refused"),
        (BadSetting("The disk is full.", "Make room."), "it failed: The disk is full. Make room."),
        (KeyError("of a driver"), "it failed: 'of a driver'"),
        (TimeoutError(), "it failed: TimeoutError"),
        (TimeoutError("first\nadvice of the driver"), "it failed: first"),
    ],
)
def test_what_is_foreseen_is_one_line_without_traceback(written: io.StringIO, error: Exception, said: str) -> None:
    logs.set_up("json", "INFO", foreseen=(KeyError,), stream=written)
    fail(error)
    [line] = map(json.loads, written.getvalue().splitlines())
    assert line["message"] == said
    assert "exception" not in line


def test_text_is_for_people_and_one_line(written: io.StringIO) -> None:
    logs.set_up("text", "INFO", stream=written)
    with log_context(shard=7):
        log.error("broken off\nTrying again\n")
    fail(ConnectionResetError("away"))
    first, second = written.getvalue().splitlines()
    assert first.endswith(" ERROR broken off Trying again")
    assert second.endswith(" ERROR it failed: away")


def test_text_moves_no_cursor_and_begins_no_line(written: io.StringIO) -> None:
    logs.set_up("text", "INFO", stream=written)
    log.error("a\rb\x1b[2Jc\x85d\u2028e\tf")
    try:
        raise ValueError("red \x1b[31m\r")
    except ValueError:
        log.exception("failed")
    first, *rest = written.getvalue().split("\n")
    assert first.endswith(r" ERROR a\rb\x1b[2Jc\x85d\u2028e".replace(r"\r", r"\x0d") + "\tf")
    assert r"ValueError: red \x1b[31m\x0d" in rest


def test_auto_is_text_on_a_terminal_only(written: io.StringIO) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    logs.set_up("auto", "INFO", stream=terminal)
    log.info("hello")
    logs.set_up("auto", "INFO", stream=written)
    log.info("hello")
    assert terminal.getvalue().endswith(" INFO hello\n")
    assert json.loads(written.getvalue())["message"] == "hello"


def test_setting_up_again_replaces(written: io.StringIO, lines: Lines) -> None:
    logs.set_up("json", "WARNING", stream=written)
    log.info("not shown")
    log.warning("once")
    assert [line["message"] for line in lines()] == ["once"]


def test_warnings_are_lines_too(lines: Lines) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old", UserWarning, stacklevel=1)
        logging.captureWarnings(False)
    [line] = lines()
    assert (line["level"], line["logger"]) == ("WARNING", "py.warnings")
    assert "UserWarning: old" in line["message"]


@pytest.mark.parametrize("where", ["boom()", "t = threading.Thread(target=boom, name='helper'); t.start(); t.join()"])
def test_what_ends_a_process_or_a_thread_is_a_line_too(where: str) -> None:
    before = "import threading\nfrom core import logs\nlogs.set_up('auto', 'INFO')\ndef boom(): raise ValueError('x')\n"
    ended = subprocess.run([sys.executable, "-c", before + where], capture_output=True, text=True, check=False)
    [line] = map(json.loads, ended.stderr.splitlines())
    assert line["level"] == "CRITICAL"
    assert line["exception"].endswith("ValueError: x")


def test_up_shows_json_lines_readably(lines: Lines, written: io.StringIO) -> None:
    log.warning("careful")
    said = readable(written.getvalue().strip())
    assert said.endswith(" WARNING careful")
    assert not said.startswith("{")
    for line in ("2026-01-01 WARNING plain", "{not json", "[1]", '{"other": 1}', "12"):
        assert readable(line) == line
