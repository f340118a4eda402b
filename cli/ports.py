"""Ports of this machine: is one free, which one is."""

import socket


def is_free(host: str, port: int) -> bool:
    """True if a server could listen on `host`:`port` now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def free_port(host: str = "127.0.0.1") -> int:
    """A port of `host` that nothing listens on, chosen by the system."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def usual_or_free(host: str, usual: int) -> int:
    """`usual` if it is free, else a free one."""
    return usual if usual and is_free(host, usual) else free_port(host)
