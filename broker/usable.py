"""Whether the message broker answers and takes messages."""

import re
from typing import Any
from urllib.parse import urlsplit

from kombu.connection import Connection
from redis import Redis
from redis.exceptions import RedisError

from broker.tls import tls_options
from core.errors import BadSetting, DeepvisError, NotReady

ANSWER_SECONDS = 2.0
REDIS = frozenset({"redis", "rediss"})
_REMEDY = "Use redis://:password@host:6379/0 or amqp://user:password@host:5672//."
_REFUSALS = (
    # what Redis says (its client makes a class of some first words), what that means, what mends it, may it pass
    (
        r"AuthenticationError|WRONGPASS|NOAUTH|invalid username-password",
        "refuses the password",
        "Mend user and password in DEEPVIS_BROKER_URL (special characters written like %40).",
        False,
    ),
    (
        r"NoPermissionError|NOPERM",
        "does not let this user write",
        "Let it use all commands on keys deepvis:* (ACL SETUSER).",
        False,
    ),
    (
        r"ReadOnlyError|READONLY",
        "is a read-only replica",
        "Name the primary in DEEPVIS_BROKER_URL (or: REPLICAOF NO ONE).",
        True,
    ),
    (r"OutOfMemoryError|OOM", "has no memory left", "Raise its maxmemory, or give deepvis a Redis of its own.", True),
    (r"MISCONF", "cannot save to its disk and takes no messages", "Free its disk; its log says more.", True),
    (r"BusyLoadingError|LOADING", "is still loading its data", "Wait a little.", True),
    (r"MaxClientsError|max number of clients", "has no connection left", "Raise its maxclients.", True),
    (
        r"CERTIFICATE_VERIFY_FAILED",
        "has a certificate that nobody vouches for, or of another name",
        "Name its authority in SSL_CERT_FILE, and the broker in DEEPVIS_BROKER_URL as its certificate does.",
        False,
    ),
    (r"DB index", "has no database of that number", "Mend the number at the end of DEEPVIS_BROKER_URL.", False),
    (
        r"protected mode",
        "lets only its own machine in",
        "Give it a password (requirepass) and name it in the URL.",
        False,
    ),
)


def check_broker(url: str) -> None:
    """Return if the broker at `url` answers and takes messages.

    Raises:
        NotReady: not now; that may pass.
        BadSetting: the URL is wrong, or the password.
    """
    scheme = check_broker_url(url)
    if scheme in REDIS:
        _check_redis(url)
    elif scheme not in {"memory", "filesystem"}:
        _check_connection(url)


def check_broker_url(url: str) -> str:
    """The scheme of the broker's URL.

    Raises:
        BadSetting: Celery cannot read the URL, or knows no such broker.
    """
    scheme, separator, _ = url.partition("://")
    if not separator:
        raise BadSetting("DEEPVIS_BROKER_URL is no URL of a message broker.", _REMEDY)
    try:
        parts = urlsplit(url)
        if scheme != "filesystem" and ("@" in parts.path or ("@" in url and "@" not in parts.netloc)):
            raise ValueError("its password holds / ? # or @, which are written like %2F")
        _ = parts.port  # raises where it is no number
        if scheme in REDIS and not re.fullmatch("/?[0-9]*", parts.path):
            raise ValueError(f"it ends with the number of a database, not with {parts.path!r}")
        # Raises where the scheme is unknown, or its library is missing.
        _ = _connection(url).transport
    except KeyError:
        raise BadSetting(f"There is no message broker of the kind {scheme!r}.", _REMEDY) from None
    except (ValueError, ImportError) as error:
        raise BadSetting(f"DEEPVIS_BROKER_URL cannot be used: {error}.", _REMEDY) from error
    return scheme


def shown(url: str) -> str:
    """Host and port of a broker's URL, without its password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _check_redis(url: str) -> None:
    with Redis.from_url(url, socket_connect_timeout=ANSWER_SECONDS, socket_timeout=ANSWER_SECONDS) as client:
        try:
            client.set("deepvis:probe", 1, px=1000)
        except (RedisError, OSError) as error:
            raise _refusal(url, error) from error


def _check_connection(url: str) -> None:
    with _connection(url) as connection:
        try:
            # Not `connect`, which would try again for a while.
            connection.transport.close_connection(connection.transport.establish_connection())
        except (*connection.connection_errors, *connection.channel_errors, OSError) as error:
            raise _refusal(url, error) from error
        except ValueError as error:
            raise BadSetting(f"DEEPVIS_BROKER_URL cannot be used: {error}.", _REMEDY) from error


def _connection(url: str) -> Connection:
    """What would connect; it does not yet."""
    options: dict[str, Any] = {"ssl": tls_options(url), "connect_timeout": ANSWER_SECONDS}
    return Connection(url, **options)  # type: ignore[no-untyped-call]  # kombu has no types


def _refusal(url: str, error: Exception) -> DeepvisError:
    said = f"{type(error).__name__} {error}"
    for pattern, meaning, remedy, passes in _REFUSALS:
        if re.search(pattern, said):
            return (NotReady if passes else BadSetting)(f"The message broker at {shown(url)} {meaning}.", remedy)
    reason = str(error).rstrip(".") or type(error).__name__
    if re.search("ACCESS_REFUSED|NOT_ALLOWED", said):
        remedy = "Mend user, password and virtual host in DEEPVIS_BROKER_URL."
        return BadSetting(f"The message broker at {shown(url)} lets us not in ({reason}).", remedy)
    remedy = "Start it (redis-server, or `deepvis up` with its own), or mend DEEPVIS_BROKER_URL."
    return NotReady(f"No message broker answers at {shown(url)} ({reason}).", remedy)
