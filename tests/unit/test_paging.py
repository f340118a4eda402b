"""Cursors: what goes in comes out, anything else is refused."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidRequest
from db.queries.paging import cut, decode_cursor, encode_cursor
from tests.unit.specs import JSON_VALUES

FLOATS = st.floats(allow_nan=False, allow_infinity=False)


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))  # what a database can hold
KEY_TYPES = st.lists(st.sampled_from([str, int, float]), min_size=1, max_size=3)


@given(TEXTS, FLOATS | st.none(), st.integers(-(2**61), 2**61))
def test_cursor_keeps_its_key(name: str, value: float | None, number: int) -> None:
    cursor = encode_cursor(name, value, number)
    assert cursor.isascii()
    assert set(cursor) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    assert decode_cursor(cursor, str, float, int) == (name, value, number)


def read_or_refused(text: str, types: list[type]) -> None:
    try:
        key = decode_cursor(text, *types)
    except InvalidRequest as error:
        assert "cursor" in error.detail
        assert error.remedy
    else:
        assert key is not None
        assert decode_cursor(encode_cursor(*key), *types) == key


@given(st.text(min_size=1), KEY_TYPES)
def test_any_text_is_refused_or_read(text: str, types: list[type]) -> None:
    read_or_refused(text, types)


@given(JSON_VALUES, KEY_TYPES)
def test_any_json_in_a_cursors_dress_is_refused_or_read(value: object, types: list[type]) -> None:
    read_or_refused(base64.urlsafe_b64encode(json.dumps(value).encode()).decode(), types)


@given(TEXTS, st.integers(0, 100), st.text(max_size=3))
def test_a_cursor_that_was_tampered_with_is_refused_or_read(name: str, place: int, other: str) -> None:
    cursor = encode_cursor(name, 1.5)
    tampered = cursor[: place % len(cursor)] + other + cursor[place % len(cursor) + 1 :]
    if tampered:
        read_or_refused(tampered, [str, float])


@pytest.mark.parametrize(
    "text", ["[NaN]", "[Infinity]", "[-Infinity]", "[1e999]", "[" * 100_000, "[" + "1" * 5000 + "]"]
)
def test_what_is_no_number_to_compare_with_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        decode_cursor(base64.urlsafe_b64encode(text.encode()).decode(), float)


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


@pytest.mark.parametrize("text", [rb'["\ud800"]', rb'["a\u0000b"]'])
def test_what_no_database_can_hold_is_refused(text: bytes) -> None:
    cursor = base64.urlsafe_b64encode(text).decode()
    with pytest.raises(InvalidRequest):
        decode_cursor(cursor, str)
