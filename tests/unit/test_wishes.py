"""The wish for an atlas: ranges of units are read and written out, and everything else is refused."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from api.rest.wishes import MAX_UNITS, RANGE, AtlasWish
from tests.unit.specs import JSON_VALUES


def wish(**changes: object) -> AtlasWish:
    return AtlasWish.model_validate({"network": "tiny", **changes})


ENDS = st.integers(0, 99_999_999)


@st.composite
def spans(draw: st.DrawFn) -> range:
    first = draw(st.integers(0, 10_000))
    return range(first, first + draw(st.integers(1, 300)))


def printed(span: range) -> str | int:
    """A span as people write it: "0-63", "7", or the number alone."""
    return f"{span[0]}-{span[-1]}" if len(span) > 1 else span[0]


@given(st.lists(spans(), max_size=20))
def test_ranges_are_written_out_each_unit_once_ascending(wanted: list[range]) -> None:
    units = wish(units=[printed(span) for span in wanted]).units
    assert units == sorted({unit for span in wanted for unit in span})
    assert wish(units=units).units == units
    assert wish(units=[str(unit) for unit in units]).units == units


@given(st.text(max_size=22) | st.from_regex(r"\A[0-9]{0,9}[-–,: ]{0,2}[0-9]{0,9}\Z") | st.from_regex(RANGE))
def test_any_text_is_a_range_or_refused_in_words(text: str) -> None:
    found = re.fullmatch("([0-9]{1,8})(?:-([0-9]{1,8}))?", text)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
    if first <= last < first + MAX_UNITS:
        assert wish(units=[text]).units == list(range(first, last + 1))
        return
    with pytest.raises(ValidationError) as refused:
        wish(units=[text])
    assert all(error["msg"] for error in refused.value.errors())


@given(st.fixed_dictionaries({}, optional=dict.fromkeys([*AtlasWish.model_fields, "other"], JSON_VALUES)))
def test_any_body_is_a_wish_or_refused_in_words(body: dict[str, object]) -> None:
    try:
        made = AtlasWish.model_validate(body)
    except ValidationError as error:
        assert all(each["msg"] for each in error.errors())
    else:
        assert AtlasWish.model_validate(made.model_dump(mode="json")) == made


@given(ENDS, ENDS)
def test_the_number_of_units_is_bounded_before_they_are_written_out(first: int, last: int) -> None:
    if abs(last - first) < MAX_UNITS:
        return
    with pytest.raises(ValidationError, match=r"more than|lower unit first"):
        wish(units=[f"{first}-{last}"])


@pytest.mark.parametrize(("value", "field"), [(8.0, "steps"), (2.0, "seeds"), ([3.0], "units")])
def test_json_has_one_kind_of_number(value: object, field: str) -> None:
    assert getattr(wish(**{field: value}), field) == value


@pytest.mark.parametrize("value", ["1", True])
@pytest.mark.parametrize("field", ["weight", "seeds", "steps"])
def test_a_text_or_a_truth_is_no_number(field: str, value: object) -> None:
    with pytest.raises(ValidationError):
        wish(**{field: value})
