"""TLS to the message broker: its certificate and its name are verified, unless the URL itself says otherwise.

Left to themselves, kombu would take any certificate of a Redis, and of a RabbitMQ one for any name. Authorities beside
the system's are named by `ssl_ca_certs` in the URL of a Redis, or by SSL_CERT_FILE for either.
"""

import ssl
from typing import Any
from urllib.parse import parse_qs, urlsplit


def tls_options(url: str) -> dict[str, Any] | bool:
    """What kombu is to be given as `ssl` for the broker at `url`; False: no TLS, or the URL has options of its own."""
    parts = urlsplit(url)
    if any(name.startswith("ssl") for name in parse_qs(parts.query)):
        return False
    if parts.scheme == "rediss":
        return {"ssl_cert_reqs": ssl.CERT_REQUIRED}
    if parts.scheme == "amqps":
        return {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": None}  # None: the host's name is filled in
    return False
