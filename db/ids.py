"""Time-ordered ids for atlases, 26 characters that sort as text in the order they were made; tokens of leases."""

import secrets
from datetime import datetime

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base 32, lower case: no letters that look like digits."""
LENGTH = 26


def time_ordered(moment: datetime) -> str:
    """An id of 48 bits of milliseconds, then 80 random bits (the layout of a ULID)."""
    number = (int(moment.timestamp() * 1000) << 80) | secrets.randbits(80)
    return "".join(ALPHABET[(number >> shift) & 31] for shift in range(5 * (LENGTH - 1), -1, -5))


def new_token() -> str:
    """32 random hex digits that stand for one lease."""
    return secrets.token_hex(16)
