"""A worker's log: how a child ended is one line."""

import io
import logging
from collections.abc import Iterator

import pytest
from billiard.einfo import ExceptionInfo
from billiard.exceptions import WorkerLostError

from core import logs
from workers.logs import FORESEEN, _unwrapped


@pytest.fixture
def request_log() -> Iterator[tuple[logging.Logger, io.StringIO]]:
    """A logger set up as Celery's of requests is, and what it writes."""
    logger, stream = logging.getLogger("tests.requests"), io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.TextLine())
    handler.addFilter(logs.OneLine(FORESEEN))
    logger.addFilter(_unwrapped)
    logger.addHandler(handler)
    yield logger, stream
    logger.removeHandler(handler)
    logger.removeFilter(_unwrapped)


def ended(error: Exception) -> ExceptionInfo:
    """As the pool hands it to Celery."""
    try:
        raise error
    except type(error):
        return ExceptionInfo()


@pytest.mark.parametrize(("error", "foreseen"), [(WorkerLostError("signal 9"), True), (ValueError("no"), False)])
def test_a_lost_child_is_one_line_and_what_nobody_foresaw_is_more(
    request_log: tuple[logging.Logger, io.StringIO], error: Exception, foreseen: bool
) -> None:
    logger, stream = request_log
    logger.error("Task handler raised error: %r", error, exc_info=ended(error).exc_info)

    written = stream.getvalue().splitlines()
    assert str(error) in written[0]
    assert (len(written) == 1) == foreseen
