"""`deepvis doctor`: what is there, what is missing, and how to get it."""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

import click

from cli import checks
from cli.findings import (
    TEST_PROGRAMS,
    Finding,
    attempt,
    check_cuda,
    check_memory,
    check_open_files,
    check_package,
    check_program,
    check_python,
)
from core.errors import DeepvisError

if TYPE_CHECKING:
    from core.settings import Settings

LEAST_FREE_BYTES = 2_000_000_000
CLOCK_SECONDS = 60.0
_MARKS = {"ok": ("ok", "green"), "missing": ("MISSING", "red"), "warning": ("WARNING", "yellow")}
_MARKS |= {"optional": ("-", "yellow")}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Say what is there, what is missing, and how to get it.

    The exit status is 1 if something that is needed is missing.
    """
    findings = []
    for finding in examine():
        if not as_json:
            _show(finding)
        findings.append(finding)
    missing = [finding.name for finding in findings if finding.state == "missing"]
    if as_json:
        from cli.tables import print_json

        print_json({"ok": not missing, "findings": [asdict(finding) for finding in findings]})
    else:
        click.echo(f"Missing: {', '.join(missing)}." if missing else "Everything needed is there.")
    ctx.exit(1 if missing else 0)


def examine() -> Iterator[Finding]:
    """Every check in turn; those of the set-up only if the settings can be read."""
    from cli.running import connected_settings

    yield attempt("Python", check_python)
    for package in ("torch", "torchvision"):
        yield attempt(package, partial(check_package, package))
    try:
        settings, wrong = connected_settings(), None
    except DeepvisError as error:
        settings, wrong = None, error
    yield attempt("CUDA", partial(check_cuda, settings.device if settings else "auto"))
    yield attempt("Memory", check_memory)
    yield attempt("Open files", check_open_files)
    if settings is None:
        yield Finding("Settings", "missing", wrong.detail if wrong else "", wrong.remedy if wrong else "")
        return
    for name, check in SETUP_CHECKS.items():
        yield attempt(name, partial(check, settings))
    yield from (check_program(*program) for program in TEST_PROGRAMS)


def _show(finding: Finding) -> None:
    mark, colour = _MARKS[finding.state]
    click.echo(f"{click.style(f'{mark:<8}', fg=colour)} {finding.name:<12} {finding.detail}")
    if finding.remedy and finding.state != "ok":
        click.echo(f"{'':<21} {finding.remedy}")


def check_settings(settings: "Settings") -> Finding:
    """Every variable that is named like a setting is one."""
    from core.settings import given_variables, unknown_variables

    if unknown := unknown_variables():
        return Finding("Settings", "warning", " ".join(unknown), "It is not obeyed: mend its name or unset it.")
    return Finding("Settings", "ok", f"{', '.join(given_variables()) or 'none'} set; home is {settings.home_path}")


def check_home(settings: "Settings") -> Finding:
    """The home folder can be written to, or made."""
    checks.check_home(settings)
    return Finding("Home", "ok", f"{settings.home_path} is writable")


def check_networks(settings: "Settings") -> Finding:
    """The networks can be listed, the operator's file included, and the modules it names can be imported."""
    from deepvis.networks import catalogue
    from deepvis.networks.factories import find_factory

    found = catalogue(settings.networks_file)
    for source in found:
        if source.kind == "factory":
            find_factory(source.builder)
    return Finding("Networks", "ok", f"{len(found)} known")


def check_redis(settings: "Settings") -> Finding:
    """The broker that is named answers; or there is a server that `deepvis up` can start."""
    from cli.embedded_redis import find_server, server_version

    if "broker_url" not in settings.model_fields_set:
        server = find_server()
        return Finding("Redis", "ok", f"{server_version(server)}, started by `deepvis up` ({server})")
    checks.check_broker(settings)
    return Finding("Redis", "ok", "the broker answers and takes messages")


def check_database(settings: "Settings") -> Finding:
    """The database is reachable and has this version's tables; SQLite's file may still have to be made.

    Its clock is compared with this machine's too.
    """
    from core.addresses import without_password

    if not settings.database_url and not (settings.home_path / "deepvis.db").exists():
        return Finding("Database", "ok", "SQLite; `deepvis up` will make it")
    checks.check_database(settings)
    url = without_password(settings.resolved_database_url)
    ahead = checks.clock_difference(settings)
    if abs(ahead) < CLOCK_SECONDS:
        return Finding("Database", "ok", url)
    detail = f"{url}; this machine's clock is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} its clock"
    return Finding("Database", "warning", detail, "Harmless: only the database's counts. Logs show both: set up NTP.")


def check_store(settings: "Settings") -> Finding:
    """The picture store takes, gives and deletes."""
    from core.addresses import without_password

    checks.check_store(settings)
    return Finding("Pictures", "ok", f"{without_password(settings.resolved_store_url)} takes, gives and deletes")


def check_disk(settings: "Settings") -> Finding:
    """Room for pictures."""
    from cli.texts import size

    free = checks.free_bytes(settings)
    remedy = f"Free at least {size(LEAST_FREE_BYTES)}, or set DEEPVIS_HOME elsewhere."
    detail = f"{size(free)} free for {settings.home_path}"
    return Finding("Disk", "ok" if free >= LEAST_FREE_BYTES else "missing", detail, remedy)


def check_listening(settings: "Settings") -> Finding:
    """The port of the web server is free, or our own server's."""
    from cli.ports import is_free
    from cli.running import read_running

    if running := read_running(settings.home_path):
        return Finding("Port", "ok", f"deepvis runs at {running.url}")
    if is_free(settings.host, settings.port):
        return Finding("Port", "ok", f"{settings.port} is free")
    return Finding("Port", "optional", f"{settings.port} is taken; `deepvis up` takes a free one", "Set DEEPVIS_PORT.")


SETUP_CHECKS: "dict[str, Callable[[Settings], Finding]]" = {
    "Settings": check_settings,
    "Home": check_home,
    "Networks": check_networks,
    "Redis": check_redis,
    "Database": check_database,
    "Pictures": check_store,
    "Disk": check_disk,
    "Port": check_listening,
}
