"""Everything on this machine: Redis, database, one worker and the web server, started in order and stopped together."""

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from cli import checks, embedded_redis, running
from cli.ports import usual_or_free
from cli.supervisor import Supervisor
from core.addresses import without_password
from core.errors import NotReady
from core.settings import Settings, load_settings

if TYPE_CHECKING:
    from db.session import Sessions

WEB_START_SECONDS = 60.0
CATALOGUE_SECONDS = 180.0
WORKER_MARGIN_SECONDS = 25.0
"""A worker may take this much longer than `stop_seconds` to end."""


@dataclass(frozen=True)
class Stack:
    """A running service: its settings as the children see them, and who watches them."""

    settings: Settings
    supervisor: Supervisor


@contextlib.contextmanager
def running_stack(settings: Settings, *, verbose: bool = False) -> Iterator[Stack]:
    """Start everything; stop everything on the way out.

    Raises:
        Conflict: another `deepvis up` runs on the same home folder.
        BadSetting: a setting is wrong, or a place or service that one names cannot be used.
        PartEnded, NotReady: a part does not come up.
        StopRequested: a signal came meanwhile.
    """
    checks.before_up(settings)
    with running.claim(settings.home_path) as note:
        _migrate(settings)
        with Supervisor(settings.home_path / "logs", verbose=verbose) as supervisor:
            settings = _with_redis(settings, supervisor)
            settings = _with_port(settings)
            env = _environment(settings)
            supervisor.start("web", _deepvis("api"), env)
            grace_seconds = settings.stop_seconds + WORKER_MARGIN_SECONDS
            supervisor.start("worker", _deepvis("worker"), env, grace_seconds=grace_seconds)
            supervisor.start("live", _deepvis("worker", "--live"), env, grace_seconds=grace_seconds)
            _wait_for_web(settings, supervisor)
            broker_url = settings.broker_url
            running.write_note(note, running.Running(pid=os.getpid(), url=settings.resolved_url, broker_url=broker_url))
            _wait_for_catalogue(settings, supervisor)
            yield Stack(settings, supervisor)


def _migrate(settings: Settings) -> None:
    from db.migrate import upgrade

    upgrade(settings.resolved_database_url)
    say("Database", without_password(settings.resolved_database_url))


def _with_redis(settings: Settings, supervisor: Supervisor) -> Settings:
    if "broker_url" in settings.model_fields_set:
        say("Redis", "the one at DEEPVIS_BROKER_URL")
        return settings
    server = embedded_redis.find_server()
    configuration, url = embedded_redis.write_configuration(settings.home_path / "redis")
    # Redis warns of the machine's memory settings at every start.
    supervisor.start("redis", [str(server), str(configuration)], os.environ, warnings=False)
    embedded_redis.wait_until_ready(url, supervisor.wait)
    say("Redis", f"{embedded_redis.server_version(server)} of its own ({server})")
    return changed(settings, broker_url=url)


def _with_port(settings: Settings) -> Settings:
    port = usual_or_free(settings.host, settings.port)
    if port != settings.port and settings.port:
        say("Port", f"{settings.port} is taken, using {port}")
    return changed(settings, port=port, url=f"http://{_reachable(settings.host)}:{port}")


def _reachable(host: str) -> str:
    """The name under which this machine reaches a server that listens on `host`."""
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}  # noqa: S104  # read, not bound to
    return everywhere.get(host, f"[{host}]" if ":" in host else host)


def changed(settings: Settings, **updates: object) -> Settings:
    """`settings` with `updates`; the settings that were given explicitly stay so."""
    kept = {name: getattr(settings, name) for name in settings.model_fields_set}
    return load_settings(**{**kept, **updates})


def _environment(settings: Settings) -> dict[str, str]:
    """The environment of the children: ours, with the settings we decided on."""
    decided = {"home": str(settings.home_path), "broker_url": settings.broker_url}
    decided |= {"host": settings.host, "port": str(settings.port), "url": settings.resolved_url}
    named = {f"DEEPVIS_{name.upper()}": value for name, value in decided.items()}
    # Logs that a person reads here, in files that nobody empties while this runs.
    usual = {"DEEPVIS_LOG_FORMAT": "text", "DEEPVIS_ACCESS_LOG": "false"}
    return {**usual, **os.environ, **named, "PYTHONUNBUFFERED": "1"}


def _deepvis(*command: str) -> list[str]:
    return [sys.executable, "-P", "-m", "cli", *command]


def _wait_for_web(settings: Settings, supervisor: Supervisor) -> None:
    import httpx

    for _ in range(int(WEB_START_SECONDS / 0.2)):
        supervisor.wait(0.2)
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{settings.resolved_url}/healthz", timeout=5, trust_env=False).is_success:
                return
    raise NotReady(f"The web server did not answer within {WEB_START_SECONDS:.0f} seconds.", "Look into its log.")


def _wait_for_catalogue(settings: Settings, supervisor: Supervisor) -> None:
    """The worker makes the networks known, also those new in the networks file; before that none can be asked for."""
    from db.queries.networks import network_names
    from deepvis.networks.factories import read_networks_file

    awaited = set(read_networks_file(settings.networks_file))
    with _sessions(settings) as sessions:
        for _ in range(int(CATALOGUE_SECONDS / 0.5)):
            with sessions() as session:
                known = set(network_names(session))
            if known and awaited <= known:
                return
            supervisor.wait(0.5)
    raise NotReady(f"The worker made no networks known within {CATALOGUE_SECONDS:.0f} seconds.", "Look into its log.")


@contextlib.contextmanager
def _sessions(settings: Settings) -> "Iterator[Sessions]":
    """The database by itself: the web server may ask for a token, which nobody has made yet."""
    from db.session import make_engine, make_sessions

    engine = make_engine(settings.resolved_database_url)
    yield make_sessions(engine)
    engine.dispose()


def say(what: str, text: str) -> None:
    """One line about a part of the service."""
    click.echo(f"{what:<9} {text}")
