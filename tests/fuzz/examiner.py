"""Runs schemathesis over the service's own OpenAPI document, in this process, and gathers what it finds.

Every operation that the document names is examined: there is no list of them here.
"""

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import schemathesis
from apiflask import APIFlask
from hypothesis.strategies import binary, just, one_of
from schemathesis import Case, CheckContext, Response
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import Status, events, from_schema
from schemathesis.engine.recorder import ScenarioRecorder

from tests.fuzz.seeds import ARCHIVE, Known
from tests.unit.api.conftest import image_bytes
from tests.videos import animation

DOCUMENT = "/api/v1/openapi.json"
SECONDS = int(os.environ.get("FUZZ_SECONDS", "0"))
"""How long to go on with ever new data; 0, as in CI: one round, the same every time."""
SEED = int(os.environ.get("FUZZ_SEED", "2015"))

# Files that are sent: one that is taken as a picture, one that is taken as a video too, and anything at all.
schemathesis.openapi.format("binary", one_of(just(animation(3)), just(image_bytes("PNG", 50)), binary(max_size=200)))

# What may be refused although the document allows it, and why: these rules hold between fields or within a text, where
# JSON Schema either cannot say them or says them so that nobody can read them. The answer says them in words.
SAID_IN_WORDS = (
    "write the lower unit first",  # "9-3": compares two numbers within a text
    "units; leave `units` out",  # sums over ranges
    "blur_width and blur_every go together",  # one field's value for another's
    "`preferred` is false and there is no `probe`",  # likewise
)

# A body that is a picture: nobody comes upon one by chance.
for _kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP"):
    schemathesis.openapi.media_type(f"image/{_kind.lower()}", just(image_bytes(_kind, 50)))
# A body that is an archive: nobody comes upon one by chance.
for _kind in ("zip", "x-tar", "gzip", "octet-stream"):
    schemathesis.openapi.media_type(f"application/{_kind}", one_of(just(ARCHIVE), binary(max_size=100)))


@dataclass(frozen=True)
class Service:
    """The application, and what there is in it."""

    app: APIFlask
    known: Known


@dataclass
class Report:
    """What one examination found."""

    faults: list[str] = field(default_factory=list)  # one text for each kind, with the request that shows it
    answers: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))  # statuses by operation
    cases: int = 0


@schemathesis.check
def unavailable_only_until_described(_: CheckContext, response: Response, case: Case) -> None:
    """The one 5xx that is right: layers are asked for that no worker has found yet. It says when to come back."""
    if response.status_code == 503:
        assert response.json()["type"] == "/problems/not-described", response.text
        assert int(response.headers["retry-after"][0]) > 0


@schemathesis.check
def what_the_document_allows_is_understood(_: CheckContext, response: Response, case: Case) -> None:
    """Valid data may be refused for what it means (an unknown layer), never for its form."""
    if case.meta is None or not case.meta.generation.mode.is_positive or response.status_code not in {400, 422}:
        return
    wrong = [error["message"] for error in response.json().get("errors", [])]
    unsaid = [message for message in wrong if not any(words in message for words in SAID_IN_WORDS)]
    assert response.status_code == 422 and not unsaid, response.text


@schemathesis.check
def problems_are_documents(_: CheckContext, response: Response, case: Case) -> None:
    """Whatever is refused is refused with a problem document that has the status of its answer."""
    if response.status_code >= 400 and case.method != "HEAD":
        assert response.headers["content-type"] == ["application/problem+json"], response.headers
        assert response.json()["status"] == response.status_code


def examine(
    service: Service, *, examples: int, seconds: int = SECONDS, token: str | None = None, address: str | None = None
) -> Report:
    """Ask every operation for what the document allows and what it does not, each by itself and one after the other.

    Args:
        service: what is examined.
        examples: how many for each operation and kind of data in one round.
        seconds: how long to go on; 0: one round.
        token: sent with every request, if the service wants one.
        address: where it listens, such as "http://127.0.0.1:8000"; None: it is called in this process.
    """
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    config = SchemathesisConfig.from_dict(settings(service.known, headers, seconds, examples))
    if address is not None:
        schema = schemathesis.openapi.from_url(address + DOCUMENT, config=config)
    else:
        schema = schemathesis.openapi.from_wsgi(DOCUMENT, from_here(service.app), config=config, headers=headers)
    report = Report()
    for event in from_schema(schema).execute():
        report.faults += faults(event)
        if isinstance(event, events.ScenarioFinished):
            count(event.recorder, report)
    report.faults = list({fault.partition("\n")[0]: fault for fault in reversed(report.faults)}.values())
    return report


def from_here(app: Any) -> Any:
    """The application, asked from this machine: without a server nobody says where a request comes from."""

    def called(environ: dict[str, Any], start_response: Any) -> Any:
        return app({**environ, "REMOTE_ADDR": "127.0.0.1"}, start_response)

    return called


def settings(known: Known, headers: Mapping[str, str], seconds: int, examples: int) -> dict[str, Any]:
    """The configuration, as in a `schemathesis.toml`."""
    values = {name: {"values": found} for name, found in asdict(known).items() if found}
    refused = ["400", "401", "403", "404", "405", "409", "413", "415", "422", "429", "503"]
    return {
        "seed": SEED,
        **({"max-time": seconds} if seconds else {}),
        "max-stream-events": 1,  # a stream of progress lasts half a minute, and is closed after its first event
        "continue-on-failure": True,
        "headers": dict(headers),
        "generation": {"mode": "all", "max-examples": examples, "deterministic": not seconds, "database": "none"},
        "phases": {"coverage": {"generate-duplicate-query-parameters": True}},
        "dictionaries": values,
        "parameters": {
            key: {"dictionary": name, "probability": 0.6}
            for name in values
            for key in (f"path.{name}", f"query.{name}", *BODIES.get(name, ()))
        },
        "checks": {
            # 503: see `unavailable_only_until_described`. 422: see `what_the_document_allows_is_understood`.
            "not_a_server_error": {"expected-statuses": ["2xx", "3xx", "4xx", "503"]},
            "negative_data_rejection": {"expected-statuses": refused},
            "positive_data_acceptance": {"expected-statuses": ["2xx", "3xx", "404", "409", "422", "429", "503"]},
        },
    }


BODIES = {"name": ("query.network", "body.network"), "layer": ("body.layers[*]",)}
"""Where else than under its own name the values of a parameter belong."""


def faults(event: events.EngineEvent) -> Iterator[str]:
    """What went wrong by this event: failed checks, and whatever kept the examination from going on."""
    if isinstance(event, events.NonFatalError):
        yield f"{event.label}: {event.value!r}"
    elif isinstance(event, events.FatalError):
        raise event.exception
    elif isinstance(event, events.ScenarioFinished):
        yield from _failures(event.recorder)


def _failures(recorder: ScenarioRecorder) -> Iterator[str]:
    for case_id, checks in recorder.checks.items():
        for check in checks:
            if check.failure_info is not None:
                failure = check.failure_info.failure
                interaction = recorder.interactions.get(failure.case_id or case_id)
                response = interaction.response if interaction else None
                answer = f"{response.status_code} {response.text[:400]}" if response else "no answer"
                operation = recorder.cases[case_id].value.operation.label
                yield f"{operation}: {check.name}\n{failure}\n{check.failure_info.code_sample[:2000]}\n{answer}"
            elif check.status == Status.ERROR:
                yield f"{recorder.label}: {check.name} could not be carried out"


def count(recorder: ScenarioRecorder, report: Report) -> None:
    """Note who answered what."""
    report.cases += len(recorder.cases)
    for case_id, interaction in recorder.interactions.items():
        if interaction.response is not None:
            report.answers[recorder.cases[case_id].value.operation.label].add(interaction.response.status_code)
