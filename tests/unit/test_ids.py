"""Atlas ids: ordered by time, unlike each other."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from db.ids import ALPHABET, LENGTH, time_ordered

MOMENTS = st.datetimes(datetime(1970, 1, 2), datetime(9000, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(MOMENTS, st.timedeltas(timedelta(milliseconds=2), timedelta(days=1000)))
def test_later_ids_sort_after(moment: datetime, later: timedelta) -> None:
    first, second = time_ordered(moment), time_ordered(moment + later)
    assert first < second
    assert len(first) == LENGTH
    assert set(first) <= set(ALPHABET)


def test_ids_of_one_moment_differ() -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    assert len({time_ordered(moment) for _ in range(1000)}) == 1000
