"""JSON bodies: what cannot be stored, and what would exhaust the parser, is malformed."""

import json
from typing import Any, NoReturn

from flask import Request
from werkzeug.exceptions import RequestEntityTooLarge

from api.problems import MalformedJson

DRAIN_BYTES = 8 * 1024 * 1024
"""Most that is read, and dropped, of a body that is over the limit."""


class JsonRequest(Request):
    """A request whose body is counted while it is read, and whose JSON is such that a database can keep it."""

    def get_data(self, *args: Any, **options: Any) -> Any:
        """The body. One without an announced length is counted here: Werkzeug only cuts it off at the limit.

        Raises:
            RequestEntityTooLarge: it is over the limit.
        """
        data = super().get_data(*args, **options)
        limit = self.max_content_length
        cut = self.content_length is None and limit is not None and len(data) >= limit
        if cut and self.environ["wsgi.input"].read(1):
            self.refuse()
        return data

    def refuse(self) -> NoReturn:
        """Refuse the body as too large, after reading on for a while.

        A client that is still sending when the connection closes may never see the answer.

        Raises:
            RequestEntityTooLarge: always.
        """
        # No more than was announced: not every server ends the stream there.
        announced = DRAIN_BYTES if self.content_length is None else self.content_length
        stream, left = self.environ["wsgi.input"], min(DRAIN_BYTES, announced)
        while left > 0 and (chunk := stream.read(min(left, 65_536))):
            left -= len(chunk)
        raise RequestEntityTooLarge

    def get_json(self, *args: Any, **options: Any) -> Any:
        """The body as JSON.

        Raises:
            MalformedJson: it is not JSON, nests too deep, or holds text that cannot be stored.
        """
        try:
            value = super().get_json(*args, **options)
            check_storable(value)
        except (RecursionError, ValueError) as error:
            self.on_json_loading_failed(error)
        return value

    def on_json_loading_failed(self, e: Exception | None) -> Any:
        reason = "it nests too deep" if isinstance(e, RecursionError) else e
        raise MalformedJson(f"The body is not valid JSON: {reason}.", "Send one JSON object in UTF-8.") from e


def check_storable(value: object) -> None:
    """Refuse texts that no database stores.

    Raises:
        ValueError: there are NUL characters or halves of surrogate pairs in it.
        RecursionError: it nests too deep.
    """
    text = json.dumps(value, ensure_ascii=False)
    text.encode()  # a half of a surrogate pair is a UnicodeEncodeError, which is a ValueError
    if "\\u0000" in text.replace("\\\\", ""):
        raise ValueError("it holds a NUL character")
