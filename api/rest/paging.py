"""Pages of lists: limits, opaque cursors, and the Link header."""

from urllib.parse import quote, urlencode

from flask import request
from pydantic import BaseModel, ConfigDict, Field

MAX_LIMIT = 500


class Query(BaseModel):
    """Base of all query strings: what is not known is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PageQuery(Query):
    """Which part of a list."""

    limit: int = Field(default=100, ge=1, le=MAX_LIMIT, description="Most items in the answer")
    cursor: str | None = Field(
        default=None, max_length=1000, description="`next_cursor` of the page before; none: the first page"
    )


def link_header(next_cursor: str | None) -> dict[str, str]:
    """The Link header to the next page (RFC 8288); none on the last page."""
    if next_cursor is None:
        return {}
    query = {**request.args.to_dict(), "cursor": next_cursor}
    return {"Link": f'<{quote(request.path)}?{urlencode(query)}>; rel="next"'}
