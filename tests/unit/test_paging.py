"""Cursors: what goes in comes out, anything else is refused."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidRequest
from db.queries.paging import cut, decode_cursor, encode_cursor

FLOATS = st.floats(allow_nan=False, allow_infinity=False)


@given(st.text(), FLOATS | st.none(), st.integers(-(2**61), 2**61))
def test_cursor_keeps_its_key(name: str, value: float | None, number: int) -> None:
    cursor = encode_cursor(name, value, number)
    assert cursor.isascii()
    assert set(cursor) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    assert decode_cursor(cursor, str, float, int) == (name, value, number)


@given(st.text(min_size=1))
def test_any_text_is_refused_or_read(text: str) -> None:
    try:
        decode_cursor(text, str)
    except InvalidRequest as error:
        assert "cursor" in error.detail


@pytest.mark.parametrize("key", [[], ["a", 1], [1.5], [True], [2**70], {"a": 1}, None, [[]]])
def test_key_of_another_form_is_refused(key: object) -> None:
    cursor = base64.urlsafe_b64encode(json.dumps(key).encode()).decode()
    with pytest.raises(InvalidRequest):
        decode_cursor(cursor, int)


def test_no_cursor_is_the_start() -> None:
    assert decode_cursor(None, str) is None
    assert decode_cursor("", str) is None


def test_page_is_cut_and_says_what_follows() -> None:
    assert cut([1, 2, 3], 2, str) == ([1, 2], "2")
    assert cut([1, 2], 2, str) == ([1, 2], None)
    assert cut([], 2, str) == ([], None)


def test_half_of_a_surrogate_pair_is_refused() -> None:
    cursor = base64.urlsafe_b64encode(rb'["\ud800"]').decode()
    with pytest.raises(InvalidRequest):
        decode_cursor(cursor, str)
