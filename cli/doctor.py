"""`deepvis doctor`: what is there, what is missing, and how to get it."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from core.errors import DeepvisError

if TYPE_CHECKING:
    from core.settings import Settings

LEAST_FREE_BYTES = 2_000_000_000
_MARKS = {"ok": ("ok", "green"), "missing": ("MISSING", "red"), "optional": ("-", "yellow")}


@dataclass(frozen=True)
class Finding:
    """One line of the report. "missing" fails the whole; "optional" is a part that one can do without."""

    name: str
    state: Literal["ok", "missing", "optional"]
    detail: str
    remedy: str = ""


@click.command()
@click.pass_context
def doctor(ctx: click.Context) -> None:
    """Say what is there, what is missing, and how to get it.

    The exit status is 1 if something that is needed is missing.
    """
    findings = []
    for finding in examine():
        _show(finding)
        findings.append(finding)
    missing = [finding.name for finding in findings if finding.state == "missing"]
    click.echo(f"Missing: {', '.join(missing)}." if missing else "Everything needed is there.")
    ctx.exit(1 if missing else 0)


def examine() -> Iterator[Finding]:
    """Every check in turn; those of the set-up only if the settings can be read."""
    from cli.running import connected_settings

    yield _attempt("Python", check_python)
    for package in ("torch", "torchvision"):
        yield _attempt(package, partial(check_package, package))
    yield _attempt("CUDA", check_cuda)
    try:
        settings = connected_settings()
    except DeepvisError as error:
        yield Finding("Settings", "missing", error.detail, error.remedy)
        return
    yield Finding("Settings", "ok", _named(settings))
    for name, check in SETUP_CHECKS.items():
        yield _attempt(name, partial(check, settings))
    yield from (check_program(*program) for program in TEST_PROGRAMS)


def _attempt(name: str, check: Callable[[], Finding]) -> Finding:
    """The finding of `check`; an error it raises is a finding too."""
    try:
        return check()
    except DeepvisError as error:
        return Finding(name, "missing", error.detail, error.remedy)
    except Exception as error:  # whatever is broken, the other lines matter too
        return Finding(name, "missing", f"{type(error).__name__}: {error}")


def _show(finding: Finding) -> None:
    mark, colour = _MARKS[finding.state]
    click.echo(f"{click.style(f'{mark:<8}', fg=colour)} {finding.name:<12} {finding.detail}")
    if finding.remedy and finding.state != "ok":
        click.echo(f"{'':<21} {finding.remedy}")


def _named(settings: "Settings") -> str:
    given = sorted(f"DEEPVIS_{name.upper()}" for name in settings.model_fields_set & _from_environment())
    return f"{', '.join(given) or 'none'} set; home is {settings.home_path}"


def _from_environment() -> set[str]:
    return {name.removeprefix("DEEPVIS_").lower() for name in os.environ if name.startswith("DEEPVIS_")}


def check_python() -> Finding:
    """Python 3.11 or newer."""
    found = ".".join(map(str, sys.version_info[:3]))
    state: Literal["ok", "missing"] = "ok" if sys.version_info >= (3, 11) else "missing"
    return Finding("Python", state, found, "Install Python 3.11 or newer.")


def check_package(package: str) -> Finding:
    """A package of the method is installed."""
    try:
        return Finding(package, "ok", version(package))
    except PackageNotFoundError:
        return Finding(package, "missing", "not installed", "pip install -r requirements.lock")


def check_cuda() -> Finding:
    """A GPU that torch can use; without one the CPU computes."""
    import torch

    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
        return Finding("CUDA", "ok", names)
    return Finding("CUDA", "optional", "none that torch can use; the CPU computes", "GPUs need a CUDA build of torch.")


def check_networks(settings: "Settings") -> Finding:
    """The networks can be listed, the operator's file included."""
    from deepvis.networks import catalogue

    return Finding("Networks", "ok", f"{len(catalogue(settings.networks_file))} known")


def check_redis(settings: "Settings") -> Finding:
    """The broker that is named answers; or there is a server that `deepvis up` can start."""
    from cli.embedded_redis import answers, find_server, server_version

    if "broker_url" not in settings.model_fields_set:
        server = find_server()
        return Finding("Redis", "ok", f"{server_version(server)}, started by `deepvis up` ({server})")
    if answers(settings.broker_url):
        return Finding("Redis", "ok", "the broker answers")
    return Finding("Redis", "missing", "the broker does not answer", "Start it, or mend DEEPVIS_BROKER_URL.")


def check_database(settings: "Settings") -> Finding:
    """The database is reachable and has this version's tables; SQLite's file may still have to be made."""
    from cli.texts import without_password
    from db.session import check_schema, make_engine

    url = settings.resolved_database_url
    if not settings.database_url and not (settings.home_path / "deepvis.db").exists():
        return Finding("Database", "ok", "SQLite; `deepvis up` will make it")
    engine = make_engine(url)
    try:
        check_schema(engine)
    finally:
        engine.dispose()
    return Finding("Database", "ok", without_password(url))


def check_store(settings: "Settings") -> Finding:
    """The picture store takes, gives and deletes."""
    from store import open_store

    store = open_store(settings.resolved_store_url)
    key = store.put(b"deepvis doctor was here")
    store.get(key)
    store.delete(key)
    return Finding("Pictures", "ok", f"{settings.resolved_store_url} takes, gives and deletes")


def check_disk(settings: "Settings") -> Finding:
    """Room for pictures."""
    from cli.texts import size

    folder = next(p for p in (settings.home_path, *settings.home_path.parents) if p.exists())
    free = shutil.disk_usage(folder).free
    enough = free >= LEAST_FREE_BYTES
    remedy = f"Free at least {size(LEAST_FREE_BYTES)}, or set DEEPVIS_HOME elsewhere."
    return Finding("Disk", "ok" if enough else "missing", f"{size(free)} free at {folder}", remedy)


def check_port(settings: "Settings") -> Finding:
    """The web server's port is free, or our own server's."""
    from cli.ports import is_free
    from cli.running import read_running

    if running := read_running(settings.home_path):
        return Finding("Port", "ok", f"deepvis runs at {running.url}")
    if is_free(settings.host, settings.port):
        return Finding("Port", "ok", f"{settings.port} is free")
    return Finding("Port", "optional", f"{settings.port} is taken; `deepvis up` takes a free one", "Set DEEPVIS_PORT.")


SETUP_CHECKS: "dict[str, Callable[[Settings], Finding]]" = {
    "Networks": check_networks,
    "Redis": check_redis,
    "Database": check_database,
    "Pictures": check_store,
    "Disk": check_disk,
    "Port": check_port,
}
TEST_PROGRAMS = (
    ("Chromium", ("chromium", "chromium-browser", "google-chrome"), "for the browser tests: apt install chromium"),
    ("PostgreSQL", ("initdb", "pg_ctl"), "for the PostgreSQL tests: apt install postgresql"),
)


def check_program(name: str, programs: tuple[str, ...], remedy: str) -> Finding:
    """A program that only the tests need; Debian keeps PostgreSQL's away from the PATH."""
    folders = [str(p) for p in Path("/usr/lib/postgresql").glob("*/bin")]
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *folders])
    found = next((where for program in programs if (where := shutil.which(program, path=path))), None)
    return Finding(name, "ok", found) if found else Finding(name, "optional", "not found", remedy)
