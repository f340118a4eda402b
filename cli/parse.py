"""Texts that people type, to values."""

import click

MOST_UNITS = 100_000


class NameList(click.ParamType):
    """Comma-separated names."""

    name = "a,b,..."

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        names = [part.strip() for part in value.split(",")]
        if not all(names):
            self.fail(f"{value!r} has an empty name; write names with single commas between them.", param, ctx)
        return names


class UnitList(click.ParamType):
    """Units like `0-9,12`: numbers and inclusive ranges, ascending in the result, each once."""

    name = "0-9,12"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> list[int]:
        try:
            return sorted({unit for part in value.split(",") for unit in _range(part)})
        except ValueError:
            self.fail(f"{value!r} is not a list of units; write numbers and ranges like 0-9,12.", param, ctx)


def _range(part: str) -> range:
    first, dash, last = part.strip().partition("-")
    if not all(digits.isascii() and digits.isdigit() for digits in ([first, last] if dash else [first])):
        raise ValueError(part)
    start, end = int(first), int(last) if dash else int(first)
    if end < start or end - start >= MOST_UNITS:
        raise ValueError(part)
    return range(start, end + 1)
