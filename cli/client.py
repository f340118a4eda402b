"""A client of our own REST API."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import urlsplit

import httpx

from cli.answers import AddedAnswer, AtlasAnswer, JobAnswer, ProbeSetAnswer
from core.errors import BadSetting, DeepvisError, NotReady, UnknownProbeSet, nearest
from core.settings import Settings

TIMEOUT_SECONDS = 30.0
"""For an answer: a write may have to wait its turn in the database."""
GREETING_SECONDS = 5.0
"""For the service to say that it lives, which waits for nothing."""
DESCRIBE_SECONDS = 300.0
ADD_SECONDS = 300.0
"""For the service to take in an archive: every image is decoded, and put into the store."""
MOST_WAITS = 3
"""So often a command waits until its token may ask again."""
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


class ApiProblem(DeepvisError):
    """The API answered with a problem document (RFC 9457)."""

    slug, title = "api-problem", "The service refused the request"

    def __init__(self, detail: str, remedy: str, kind: str) -> None:
        super().__init__(detail, remedy)
        self.kind = kind
        """The slug of the problem, as `core.errors` has it."""


class Client:
    """JSON over HTTP to one deepvis service; problem documents become errors."""

    def __init__(self, settings: Settings) -> None:
        token = settings.token.get_secret_value()
        self.url = settings.resolved_url
        self._http = httpx.Client(
            base_url=_checked(self.url),
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=httpx.Timeout(TIMEOUT_SECONDS, connect=GREETING_SECONDS),
            trust_env=urlsplit(self.url).hostname not in _LOOPBACK,
        )

    def __enter__(self) -> Self:
        """Look whether a deepvis service lives there: what hangs or is something else is said at once."""
        try:
            self._expect_service()
        except DeepvisError:
            self._http.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._http.close()

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        """The JSON document at `path` below /api/v1."""
        return cast(dict[str, Any], self.request("GET", f"/api/v1{path}", params=query).json())

    def pages(self, path: str, **query: Any) -> Iterator[dict[str, Any]]:
        """Every item of the list at `path`, a page at a time."""
        cursor: dict[str, str] = {}
        while True:
            page = self.get(path, **query, **cursor)
            yield from page["items"]
            if page["next_cursor"] is None:
                return
            cursor = {"cursor": page["next_cursor"]}

    def post(self, path: str, body: object | None = None) -> dict[str, Any]:
        """The JSON answer to posting `body` to `path` below /api/v1."""
        return cast(dict[str, Any], self.request("POST", f"/api/v1{path}", json=body).json())

    def atlas(self, atlas_id: str) -> AtlasAnswer:
        """The atlas `atlas_id` as it is now."""
        return AtlasAnswer.model_validate(self.get(f"/atlases/{atlas_id}"))

    def probe_set(self, name: str) -> ProbeSetAnswer | None:
        """The probe set of that name; None if there is none."""
        found = self.get("/probe-sets", name=name)["items"]
        return ProbeSetAnswer.model_validate(found[0]) if found else None

    def expect_probe_set(self, name: str) -> ProbeSetAnswer:
        """The probe set of that name.

        Raises:
            UnknownProbeSet: there is none.
        """
        if (found := self.probe_set(name)) is None:
            names = (each["name"] for each in self.pages("/probe-sets"))
            raise UnknownProbeSet(f"There is no probe set {name!r}.", nearest(name, names))
        return found

    def add_images(self, set_id: str, archive: bytes) -> AddedAnswer:
        """Add the images in a tar archive to a probe set.

        Raises:
            NotReady: there is no answer, or the service cannot store them just now; the same may be sent again.
            ApiProblem: the service says no, and why.
        """
        path, head = f"/api/v1/probe-sets/{set_id}/images", {"Content-Type": "application/x-tar"}
        try:
            response = self.request("POST", path, content=archive, headers=head, timeout=ADD_SECONDS)
        except ApiProblem as problem:
            if problem.kind in {"not-ready", "store-unavailable"}:
                raise NotReady(problem.detail, problem.remedy) from problem
            raise
        return AddedAnswer.model_validate(response.json())

    def expect_network(self, name: str) -> None:
        """Return if the service knows a network that this command has just registered in its own database.

        Raises:
            BadSetting: it does not, so its database is another one.
        """
        try:
            self.get(f"/networks/{name}")
        except ApiProblem as problem:
            if problem.kind not in {"unknown-network", "not-ready"}:
                raise
            raise BadSetting(
                f"The service at {self.url} does not know {name}: it uses another database than this command.",
                "Give both the same DEEPVIS_HOME, or the same DEEPVIS_DATABASE_URL and DEEPVIS_STORE_URL.",
            ) from problem

    def submit(self, wish: dict[str, Any], wait: Callable[[float], None] = time.sleep) -> AtlasAnswer:
        """Ask for an atlas; where a worker must look at the network first, `wait(seconds)` between tries.

        Raises:
            ApiProblem: the wish cannot be fulfilled, or no worker looked at the network within `DESCRIBE_SECONDS`.
        """
        return AtlasAnswer.model_validate(_until_described(lambda: self.post("/atlases", wish), wait))

    def send_file(
        self, group: str, field: str, path: Path, fields: dict[str, str], wait: Callable[[float], None] = time.sleep
    ) -> JobAnswer:
        """Send a file with `fields` beside it to /api/v1/`group`; waits as `submit` does, and raises as it does."""

        def send() -> dict[str, Any]:
            with path.open("rb") as file:
                answer = self.request("POST", f"/api/v1/{group}", files={field: (path.name, file)}, data=fields)
            return cast(dict[str, Any], answer.json())

        return JobAnswer.model_validate(_until_described(send, wait))

    def job(self, group: str, job_id: str) -> JobAnswer:
        """The activations or recording `job_id` as they are now."""
        return JobAnswer.model_validate(self.get(f"/{group}/{job_id}"))

    def save(self, address: str, path: Path) -> None:
        """Write what is at `address` to a file, whole or not at all, a piece at a time.

        Raises:
            NotReady: nobody answers.
            ApiProblem: the service says no, and why.
        """
        partial = path.with_name(f"{path.name}.part")
        try:
            with self._http.stream("GET", address) as response:
                if not response.is_success:
                    response.read()
                    raise _problem(response)
                with partial.open("wb") as file:
                    for piece in response.iter_bytes():
                        file.write(piece)
        except httpx.RequestError as error:
            raise self._away(error) from error
        partial.replace(path)

    def _expect_service(self) -> None:
        """Return if a deepvis service answers.

        Raises:
            NotReady: nobody does in time.
            BadSetting: something else does.
        """
        answer = self._send("GET", "/healthz", timeout=GREETING_SECONDS)
        if not _is_json(answer):
            raise BadSetting(
                f"What answers at {self.url} is no deepvis service (status {answer.status_code} to /healthz).",
                "Say where it is with DEEPVIS_URL; `deepvis up` starts one.",
            )

    def request(self, method: str, path: str, **parts: Any) -> httpx.Response:
        """The successful answer of the service, after waiting where the token asked too often.

        Raises:
            NotReady: nobody answers.
            ApiProblem: the service says no, and why.
        """
        response = self._send(method, path, **parts)
        for _ in range(MOST_WAITS):
            if response.status_code != httpx.codes.TOO_MANY_REQUESTS:
                break
            time.sleep(float(response.headers.get("Retry-After", 1)))
            response = self._send(method, path, **parts)
        if response.is_success:
            return response
        raise _problem(response)

    def _send(self, method: str, path: str, **parts: Any) -> httpx.Response:
        try:
            return self._http.request(method, path, **parts)
        except httpx.RequestError as error:
            raise self._away(error) from error

    def _away(self, error: httpx.RequestError) -> NotReady:
        remedy = "Start one with `deepvis up`, or say where it is with DEEPVIS_URL."
        return NotReady(f"No deepvis service answers at {self.url} ({error}).", remedy)


def _until_described(send: Callable[[], dict[str, Any]], wait: Callable[[float], None]) -> dict[str, Any]:
    """What `send` gives, tried again each second while a worker must look at the network first."""
    until = time.monotonic() + DESCRIBE_SECONDS
    while True:
        try:
            return send()
        except ApiProblem as problem:
            if problem.kind != "not-described" or time.monotonic() > until:
                raise
        wait(1.0)


def _checked(url: str) -> str:
    try:
        usable = urlsplit(url).scheme in {"http", "https"} and bool(httpx.URL(url).host)
    except (ValueError, httpx.InvalidURL):
        usable = False
    if not usable:
        raise BadSetting(f"DEEPVIS_URL is no web address: {url!r}.", "Write it like http://127.0.0.1:8357.")
    return url


def _is_json(response: httpx.Response) -> bool:
    return "json" in response.headers.get("content-type", "")


def _problem(response: httpx.Response) -> ApiProblem:
    document = response.json() if _is_json(response) else {}
    detail = document.get("detail") or document.get("title") or f"The service answered {response.status_code}."
    remedy = document.get("remedy") or ""
    if response.status_code == httpx.codes.UNAUTHORIZED:
        remedy = "Set DEEPVIS_TOKEN to a token of the service; `deepvis tokens make NAME` makes one."
    return ApiProblem(str(detail), str(remedy), str(document.get("type", "")).rpartition("/")[2])
