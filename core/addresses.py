"""Addresses of services as they may be shown: in a terminal, a log, an error."""

import re
from urllib.parse import unquote_plus

HIDDEN = "***"
FILES = frozenset({"file", "sqlite"})
"""Schemes of addresses on this machine, in whose folders an @ is a letter like others."""
_SECRET = re.compile("pass|pwd|secret|token|key|credential|signature", re.IGNORECASE)
_OPTION = re.compile(r"(?<=[?&])([^=&#]*)=([^&#]*)")


def without_password(url: str) -> str:
    """`url` without the password before its host, however badly it is written, and without secrets in its query."""
    scheme, separator, rest = url.partition("://")
    rest = _OPTION.sub(_hide_option, rest)
    before, at, host = rest.rpartition("@")  # the last one: a password may hold some that are not escaped
    if not at or ":" not in before or scheme.partition("+")[0].lower() in FILES:
        return f"{scheme}{separator}{rest}"
    return f"{scheme}{separator}{before.partition(':')[0]}:{HIDDEN}@{host}"


def _hide_option(found: re.Match[str]) -> str:
    name, value = found.groups()
    return f"{name}={HIDDEN if _SECRET.search(unquote_plus(name)) else value}"
