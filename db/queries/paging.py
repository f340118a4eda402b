"""Pages and cursors: a cursor is the sort key of the last item given, so that inserts never shift what follows."""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from math import inf, isfinite
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict

from core.errors import InvalidRequest

Row = TypeVar("Row")


def finite(value: float | None) -> float | None:
    """`value`, or None where it is infinite or not a number: JSON knows neither."""
    return value if value is not None and isfinite(value) else None


Finite = Annotated[float | None, BeforeValidator(finite)]


class View(BaseModel):
    """Base of everything that queries return: immutable, ready for JSON."""

    model_config = ConfigDict(frozen=True)


def encode_cursor(*key: str | float | None) -> str:
    """The sort key as text that is safe in a URL."""
    text = json.dumps(key, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(cursor: str | None, *types: type) -> tuple[Any, ...] | None:
    """The sort key of a cursor, its parts checked against `types`; None for no cursor.

    Raises:
        InvalidRequest: it is not one that `encode_cursor` made for such a key.
    """
    if not cursor:
        return None
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        key = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        key = None
    if not isinstance(key, list) or len(key) != len(types) or not all(map(_fits, key, types)):
        raise InvalidRequest("The cursor is not one that this list gave.", "Leave it out to begin at the start.")
    return tuple(key)


def cut(rows: Sequence[Row], limit: int, key: Callable[[Row], str]) -> tuple[Sequence[Row], str | None]:
    """The first `limit` of `limit + 1` fetched rows, and the cursor of the next page if there is one."""
    page = rows[:limit]
    return page, key(page[-1]) if len(rows) > limit and page else None


def _fits(value: object, wanted: type) -> bool:
    if isinstance(value, bool):
        return False
    if wanted is float:
        return value is None or (isinstance(value, int | float) and abs(value) < inf)
    if wanted is int:
        return isinstance(value, int) and abs(value) < 2**62
    # NUL and halves of surrogate pairs, which JSON can say, are nothing that a database can be asked about.
    return isinstance(value, str) and "\0" not in value and value.encode(errors="ignore").decode() == value
