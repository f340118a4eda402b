"""Where a request comes from, and which names of this server it may ask for."""

import ipaddress
import re
import socket

from flask import request

from api.problems import BadRequest
from api.services import services
from core.listening import is_loopback
from core.settings import Settings

FORWARDING_HEADERS = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "Via")
"""A reverse proxy adds one of them; then whoever asks is not on this machine, though the connection comes from it."""

_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?")


def peer_is_here() -> bool:
    """Whether the connection comes from this machine. A Unix socket has no address."""
    peer = request.environ.get("REMOTE_ADDR", "")
    return not peer or is_loopback(peer)


def is_forwarded() -> bool:
    """Whether a proxy says that it passes the request on."""
    return any(name in request.headers for name in FORWARDING_HEADERS)


def client_network() -> str:
    """The address that a request comes from, for counting; of an IPv6 address its /64, which one customer has whole.

    A proxy on this machine, or one of DEEPVIS_TRUSTED_PROXIES, is believed about the address that it saw itself, the
    last one in its header.
    """
    peer: str = request.environ.get("REMOTE_ADDR", "")
    if (peer_is_here() or _is_proxy(peer)) and (passed_on := request.headers.get("X-Forwarded-For")):
        peer = passed_on.rpartition(",")[2].strip()
    address = _address(peer)
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((address, 64), strict=False))
    return peer


def _is_proxy(peer: str) -> bool:
    address = _address(peer)
    return address is not None and any(address in network for network in services().settings.proxy_networks)


# --- host names --------------------------------------------------------------------


def trusted_hosts(settings: Settings) -> frozenset[str]:
    """Names that the Host header may have, lower case; one that starts with a dot stands for every name below it."""
    own = {"localhost"}
    if not is_loopback(settings.host):
        own |= {settings.host.lower(), socket.gethostname().lower()}
    return frozenset(own | {h.strip().lower() for h in settings.trusted_hosts.split(",") if h.strip()})


def host_is_trusted(host: str, trusted: frozenset[str]) -> bool:
    """Whether a Host header may be answered: an IP address, or a trusted name.

    A page that rebinds its own name to our address always sends that name, never an address, so addresses are safe;
    Werkzeug's TRUSTED_HOSTS cannot say that, and matches no IPv6 address.
    """
    found = _HOST.fullmatch(host.lower())
    if found is None:
        return False
    name = found["name"].strip("[]")
    known = name in trusted or any(t.startswith(".") and name.endswith(t) for t in trusted)
    return known or _address(name) is not None


def check_host() -> None:
    """Protect from DNS rebinding: answer only to this server's own names."""
    host = request.headers.get("Host", "")
    if not host_is_trusted(host, trusted_hosts(services().settings)):
        raise BadRequest(f"This server does not answer to the host name {host!r}.", "Add it to DEEPVIS_TRUSTED_HOSTS.")


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None
