"""Packets: a JSON header and some binary parts in one piece of bytes, as Redis carries them and browsers get them.

4 bytes   length of the header, most significant byte first
header    JSON in UTF-8; its "parts" are [{"name": ..., "bytes": ...}, ...]
parts     one after the other
"""

import json
import struct
from collections.abc import Mapping
from typing import Any

_LENGTH = struct.Struct(">I")


def pack(header: Mapping[str, Any], parts: Mapping[str, bytes] | None = None) -> bytes:
    """A packet of `header` and `parts`."""
    parts = parts or {}
    listed = [{"name": name, "bytes": len(data)} for name, data in parts.items()]
    text = json.dumps({**header, "parts": listed}, separators=(",", ":"), allow_nan=False).encode()
    return b"".join((_LENGTH.pack(len(text)), text, *parts.values()))


def unpack(data: bytes) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The header and the parts of a packet that `pack` made."""
    (length,) = _LENGTH.unpack_from(data)
    place = _LENGTH.size + length
    header = json.loads(data[_LENGTH.size : place])
    parts = {}
    for part in header["parts"]:
        parts[part["name"]] = data[place : place + part["bytes"]]
        place += part["bytes"]
    return header, parts
