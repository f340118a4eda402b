"""How often a token may ask, and how many wrong tokens may come from one place. Counted in this process only.

Files that never change are counted by themselves and may be asked for more often: a browser asks for each but once, yet
one page of the gallery may show a hundred of them.
"""

import math
import time
from dataclasses import dataclass, field

from flask import Flask, Response, current_app, g, request
from limits import RateLimitItem, RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from api.problems import TooManyRequests
from api.security import audit, hosts
from api.services import services

KEY = "deepvis.limits"
FILES = frozenset(
    {
        "pictures.show_file",
        "sheets.show_sheet",
        "sets.show_image",
        "sets.show_small",
        "views.show_view",
        "activations.show_activations_file",
        "recordings.show_recording_file",
    }
)
FILES_FACTOR = 10
"""So many files may be asked for with each request that is allowed."""
FRAMES = frozenset({"live.send_frame"})
FRAMES_FACTOR = 6
"""So many frames may be sent with each request that is allowed: 60 a second with the usual 600 requests a minute."""
GUESSES = RateLimitItemPerMinute(10)
"""Wrong tokens from one address that are answered; more are told to wait. A right one never is, whoever guesses beside
it: a proxy, or a laboratory's gateway, is one address to us."""


@dataclass(frozen=True)
class Rate:
    """Where a token stands."""

    policy: str  # "requests", "files" or "frames"
    limit: RateLimitItem
    remaining: int
    seconds: int  # until one more may be sent

    def headers(self) -> dict[str, str]:
        """As draft-ietf-httpapi-ratelimit-headers has them."""
        return {
            "RateLimit-Policy": f'"{self.policy}";q={self.limit.amount};w={self.limit.get_expiry()}',
            "RateLimit": f'"{self.policy}";r={self.remaining};t={self.seconds}',
        }


@dataclass(frozen=True)
class Counter:
    """Counts in moving windows, in memory."""

    limiter: MovingWindowRateLimiter = field(default_factory=lambda: MovingWindowRateLimiter(MemoryStorage()))

    def seconds(self, limit: RateLimitItem, *key: str) -> int:
        """Whole seconds until the oldest of what was counted no longer counts."""
        return max(1, math.ceil(self.limiter.get_window_stats(limit, *key).reset_time - time.time()))


def prepare(app: Flask) -> None:
    """Count for `app`."""
    app.extensions[KEY] = Counter()


def counter() -> Counter:
    """What the present application counts with."""
    found: Counter = current_app.extensions[KEY]
    return found


def check_rate() -> None:
    """Count a request with a token.

    Raises:
        TooManyRequests: there were too many within the last minute.
    """
    grant = g.caller.grant if "caller" in g else None
    if grant is None:
        return
    most = grant.requests_per_minute or services().settings.requests_per_minute
    policy, factor = _policy(request.endpoint)
    limit = RateLimitItemPerMinute(most * factor)
    key = (policy, str(grant.token_id))
    allowed = counter().limiter.hit(limit, *key)
    remaining = counter().limiter.get_window_stats(limit, *key).remaining
    g.rate = Rate(policy, limit, remaining, counter().seconds(limit, *key))
    if not allowed:
        detail = f"The token {grant.name!r} may ask for {limit.amount} {policy} a minute."
        raise TooManyRequests(detail, f"Wait {g.rate.seconds} s.", g.rate.seconds)


def _policy(endpoint: str | None) -> tuple[str, int]:
    """Which bucket counts a request, and how many times as much it holds."""
    if endpoint in FILES:
        return "files", FILES_FACTOR
    return ("frames", FRAMES_FACTOR) if endpoint in FRAMES else ("requests", 1)


def add_headers(response: Response) -> Response:
    """Tell a client with a token where it stands."""
    if rate := g.pop("rate", None):
        response.headers.update(rate.headers())
    return response


def count_guess() -> None:
    """Count a wrong token.

    Raises:
        TooManyRequests: more came from that address within the last minute than may.
    """
    address = hosts.client_network()
    if not counter().limiter.hit(GUESSES, "guesses", address):
        seconds = counter().seconds(GUESSES, "guesses", address)
        raise TooManyRequests("Too many wrong tokens came from your address.", f"Wait {seconds} s.", seconds)
    audit.note(None, "is refused: a wrong token")
