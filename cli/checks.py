"""What commands look at before they start: every look has an end, and `deepvis doctor` takes the same looks."""

import os
import shutil
import socket
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

import click

from cli.words import remedy_of
from core.deadlines import within
from core.errors import BadSetting, NotReady

if TYPE_CHECKING:
    from core.settings import Settings

CHECK_SECONDS = 10.0
LEAST_START_BYTES = 50_000_000
"""Free space under which nothing is started: a database and a broker that cannot write are worse than none."""


def before_up(settings: "Settings") -> None:
    """Return if everything on this machine can be started; nothing is made yet.

    Raises:
        BadSetting, NotReady: something is wrong, and what mends it.
    """
    from deepvis.networks.factories import read_networks_file

    warn_of_unknown_settings()
    check_listening(settings.host, 0)  # it takes another port where the one of the settings is taken
    read_networks_file(settings.networks_file)
    check_home(settings)
    check_space(settings)
    if "broker_url" in settings.model_fields_set:
        check_broker(settings)
    check_store(settings)


def before_api(settings: "Settings") -> None:
    """Return if the web server can be started. Without a broker it can: atlases wait in the database.

    Raises:
        BadSetting, NotReady: something is wrong, and what mends it.
    """
    warn_of_unknown_settings()
    check_listening(settings.host, settings.port)
    check_database(settings)
    check_store(settings, only_read=True)
    try:
        check_broker(settings)
    except NotReady as error:
        warn(f"{error.detail} Atlases are accepted and wait for it. {error.remedy}")


def warn(text: str) -> None:
    """One line on stderr about what does not stop the command."""
    click.secho(f"Warning: {text}", fg="yellow", err=True)


def warn_of_unknown_settings() -> None:
    """A misspelt setting is not obeyed: say so."""
    from core.settings import unknown_variables

    for sentence in unknown_variables():
        warn(sentence)


def check_database(settings: "Settings") -> None:
    """Return if the database answers, has this version's tables and takes changes; else raise why not."""
    from db.usable import check_database as check

    within(CHECK_SECONDS, "the database", lambda: check(settings.resolved_database_url))


def clock_difference(settings: "Settings") -> float:
    """Seconds that this machine's clock is ahead of the database's."""
    from db.usable import clock_difference as check

    return within(CHECK_SECONDS, "the database", lambda: check(settings.resolved_database_url))


def check_store(settings: "Settings", *, only_read: bool = False) -> None:
    """Return if the picture store takes, gives and deletes (with `only_read`: gives); else raise why not."""
    from core.addresses import without_password
    from store import open_store
    from store.usable import check_readable, check_writable

    store = open_store(settings.resolved_store_url)
    check = check_readable if only_read else check_writable
    within(CHECK_SECONDS, f"the picture store {without_password(settings.resolved_store_url)}", lambda: check(store))


def check_broker(settings: "Settings") -> None:
    """Return if the message broker answers and takes messages; else raise why not."""
    from broker.usable import check_broker as check

    within(CHECK_SECONDS, "the message broker", lambda: check(settings.broker_url))


def check_home(settings: "Settings") -> None:
    """Return if the home folder is writable, or can be made; else raise why not."""
    within(CHECK_SECONDS, f"the folder {settings.home_path}", lambda: _write_in(settings.home_path))


def free_bytes(settings: "Settings") -> int:
    """Free space where the home folder is or will be."""
    folder = _existing(settings.home_path)
    return within(CHECK_SECONDS, f"the folder {folder}", lambda: shutil.disk_usage(folder).free)


def check_space(settings: "Settings") -> None:
    """Return if there is some free space at the home folder; else raise."""
    from cli.texts import size

    free = free_bytes(settings)
    if free < LEAST_START_BYTES:
        remedy = "Free some space there (df -h), or set DEEPVIS_HOME to a roomier place."
        raise BadSetting(f"There are only {size(free)} free at {settings.home_path}.", remedy)


def check_listening(host: str, port: int) -> None:
    """Return if a web server can listen there; else raise why not. Port 0 is any."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:  # the host's name too
            where = f"{host}:{port}" if port else host
            remedy = "Set DEEPVIS_PORT or --port to a free port, DEEPVIS_HOST or --host to an address of this machine."
            raise BadSetting(f"The web server cannot listen on {where}: {error.strerror}.", remedy) from error


def _write_in(folder: Path) -> None:
    found = _existing(folder)
    try:
        with TemporaryFile(dir=found) as file:
            file.write(os.urandom(4096))
    except OSError as error:
        remedy = remedy_of(error, "Set DEEPVIS_HOME to a folder that you may write to.")
        raise BadSetting(f"The folder {folder} cannot be used: {error.strerror}.", remedy) from error


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that there is."""
    return next(path for path in (folder, *folder.parents) if path.exists())
