"""Server-sent events: what is sent when, how a stream ends, and that streams never take every thread."""

import json
from collections.abc import Iterator
from itertools import chain, repeat

from api.rest.atlases import ProgressAnswer
from api.rest.events import HEARTBEAT_SECONDS, LOOK_SECONDS, STREAM_SECONDS, Pace, events
from db.models import AtlasState
from tests.unit.api.conftest import Front, MakeFront


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.time = 0.0

    def sleep(self, seconds: float) -> None:
        self.time += seconds

    def pace(self) -> Pace:
        return Pace(lambda: self.time, self.sleep)


def found(done: int, state: AtlasState = AtlasState.RUNNING) -> ProgressAnswer:
    return ProgressAnswer(
        id="a", state=state, images=9, images_done=done, fraction=done / 9, shards={}, images_per_second=None,
        seconds_left=None,
    )  # fmt: skip


def run(looks: Iterator[ProgressAnswer], clock: Clock) -> list[str]:
    return list(events(lambda: next(looks), clock.pace()))


def test_progress_is_sent_when_it_changes_and_the_end_ends_the_stream() -> None:
    looks = iter([found(1), found(1), found(2), found(9, AtlasState.COMPLETE), found(9, AtlasState.COMPLETE)])
    clock = Clock()
    sent = run(looks, clock)
    assert sent[0] == "retry: 1000\n\n"
    assert [text.partition("\n")[0] for text in sent[1:]] == ["event: progress", "event: progress", "event: finished"]
    assert "id: finished\n" in sent[-1]
    assert json.loads(sent[-1].partition("data: ")[2])["images_done"] == 9
    assert clock.time == 3 * LOOK_SECONDS


def test_silence_is_broken_and_the_stream_ends_in_time() -> None:
    clock = Clock()
    sent = run(chain(repeat(found(1))), clock)
    assert sent.count(": still here\n\n") == int(STREAM_SECONDS // HEARTBEAT_SECONDS) - 1
    assert STREAM_SECONDS <= clock.time < STREAM_SECONDS + 1
    assert len(sent) < 6


def test_a_finished_atlas_is_told_once_and_then_no_more(front: Front) -> None:
    atlas = front.client.post("/api/v1/atlases", json={"network": "tiny"}).json
    front.client.post(atlas["links"]["cancel"])
    response = front.client.get(atlas["links"]["events"])
    assert response.mimetype == "text/event-stream"
    assert response.headers["Cache-Control"] == "no-store"
    assert "event: finished" in response.text
    again = front.client.get(atlas["links"]["events"], headers={"Last-Event-ID": "finished"})
    assert again.status_code == 204
    front.client.post(atlas["links"]["retry"])  # it runs again: whoever comes back is told
    resumed = front.client.get(atlas["links"]["events"], headers={"Last-Event-ID": "finished"}, buffered=False)
    assert resumed.status_code == 200
    resumed.close()


def test_at_most_half_of_the_threads_are_held_by_streams(make_front: MakeFront) -> None:
    front = make_front(web_threads=4)
    events_address = front.client.post("/api/v1/atlases", json={"network": "tiny"}).json["links"]["events"]
    held = [front.client.get(events_address, buffered=False) for _ in range(2)]
    full = front.client.get(events_address)  # ends after its first event: the client polls
    assert full.text.count("event: progress") == 1
    assert full.text.startswith("retry: 2000")
    for response in held:
        response.close()
    for _ in range(5):  # a stream that nobody reads gives its place back too
        front.client.head(events_address).close()
    last = front.client.get(events_address, buffered=False)
    assert next(iter(last.response)) == b"retry: 1000\n\n"
    last.close()
