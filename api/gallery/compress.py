"""Compression of big pages: a grid of 4,096 units is 1.5 MB of HTML, and a tenth of that compressed."""

import gzip

from flask import Response, request

SMALLEST_BYTES = 4096
LEVEL = 3
"""Quick, and HTML this repetitive gains little from more."""


def compress(response: Response) -> Response:
    """Compress an HTML answer for a browser that understands gzip."""
    response.vary.add("Accept-Encoding")
    if not _worth_it(response):
        return response
    response.set_data(gzip.compress(response.get_data(), LEVEL, mtime=0))
    response.headers["Content-Encoding"] = "gzip"
    return response


def _worth_it(response: Response) -> bool:
    if response.mimetype != "text/html" or response.direct_passthrough or "Content-Encoding" in response.headers:
        return False
    return request.accept_encodings["gzip"] > 0 and (response.content_length or 0) > SMALLEST_BYTES
