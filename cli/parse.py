"""Texts that people type, to values: callbacks of options."""

import re

import click

MOST_UNITS = 65_536
"""Most units that may be listed, as the API has it."""
MOST_LIFETIME_SECONDS = 100 * 365 * 86_400
_UNIT_SECONDS = {"h": 3600, "d": 86_400, "w": 7 * 86_400}


def name_list(ctx: click.Context, option: click.Parameter, text: str | None) -> list[str] | None:
    """Comma-separated names."""
    if text is None:
        return None
    names = [part.strip() for part in text.split(",")]
    if not all(names):
        raise click.BadParameter(f"{text!r} has an empty name; write names with single commas between them.")
    return names


def unit_list(ctx: click.Context, option: click.Parameter, text: str | None) -> list[int] | None:
    """Units like `0-9,12`: numbers and inclusive ranges; ascending in the result, each once."""
    if text is None:
        return None
    try:
        return sorted({unit for part in text.split(",") for unit in _range(part)})
    except ValueError:
        raise click.BadParameter(f"{text!r} is no list of units; write numbers and ranges like 0-9,12.") from None


def lifetime(ctx: click.Context, option: click.Parameter, text: str) -> float | None:
    """Seconds of a time like `12h`, `90d` or `52w`; None for `never`."""
    if text == "never":
        return None
    number, unit = text[:-1], text[-1:]
    if unit not in _UNIT_SECONDS or not (number.isascii() and number.isdigit()):
        raise click.BadParameter(f"{text!r} is no time; write one like 12h, 90d or 52w, or never.")
    seconds = int(number) * _UNIT_SECONDS[unit]
    if not 0 < seconds <= MOST_LIFETIME_SECONDS:
        raise click.BadParameter(f"{text!r} is not between one hour and a hundred years; write never for no end.")
    return float(seconds)


def _range(part: str) -> range:
    first, dash, last = part.strip().partition("-")
    if not all(digits.isascii() and digits.isdigit() for digits in ([first, last] if dash else [first])):
        raise ValueError(part)
    start, end = int(first), int(last) if dash else int(first)
    if end < start or end - start >= MOST_UNITS:
        raise ValueError(part)
    return range(start, end + 1)


def seconds(ctx: click.Context, option: click.Parameter, text: str) -> float:
    """A duration like `24h`, `90m`, `30s` or `7d`, in seconds; a plain number is in seconds."""
    found = re.fullmatch(r"([0-9]{1,9})([smhd]?)", text.strip(), re.ASCII)
    if found is None:
        raise click.BadParameter(f"{text!r} is no duration; write it like 24h, 90m or 7d.")
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}[found[2]]
