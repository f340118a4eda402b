"""Which addresses only this machine can reach: nothing listens beyond them without a token."""

import ipaddress

LEAST_TOKEN_CHARACTERS = 16
"""Whoever may ask may also guess, as often as the network allows: the length is what keeps them out."""


def is_loopback(host: str) -> bool:
    """Whether `host` (a name or an address) only ever means this machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
