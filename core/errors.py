"""One hierarchy of errors; each says what is wrong and what would be right.

The `slug` of a class names its problem document (RFC 9457) and never changes;
`status` is the HTTP status a web front answers with.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import ClassVar


class DeepvisError(Exception):
    """Base of every error raised on purpose.

    Args:
        detail: what is wrong, one sentence.
        remedy: what would be right, one sentence; may be empty.
    """

    slug: ClassVar[str] = "error"
    title: ClassVar[str] = "Something went wrong"
    status: ClassVar[int] = 500

    def __init__(self, detail: str, remedy: str = "") -> None:
        super().__init__(f"{detail} {remedy}".strip())
        self.detail = detail
        self.remedy = remedy


class InvalidRequest(DeepvisError):
    """The request can never succeed as it stands."""

    slug, title, status = "invalid-request", "The request is not valid", 422


class NotFound(DeepvisError):
    """What was asked for by name or id does not exist."""

    slug, title, status = "not-found", "Not found", 404


class Conflict(DeepvisError):
    """The request does not fit the present state."""

    slug, title, status = "conflict", "Conflict with the present state", 409


class OverQuota(Conflict):
    """The owner has as many unfinished atlases, or asked for as many unit-images, as they may."""

    slug, title = "over-quota", "Over a quota"


class NotReady(DeepvisError):
    """A part that is needed is not there yet; trying again later may succeed."""

    slug, title, status = "not-ready", "Not ready yet", 503


class NotDescribed(NotReady):
    """The layers of a network are needed, and no worker has found them yet; `network` is its name."""

    slug, title = "not-described", "The network has not been looked at yet"

    def __init__(self, network: str) -> None:
        super().__init__(f"The network {network!r} has not been looked at by a worker yet.", "Try again in seconds.")
        self.network = network


class NoLiveWorker(NotReady):
    """Nobody serves a live session just now."""

    slug, title = "no-live-worker", "No worker serves this live session"


class StoreUnavailable(NotReady):
    """The picture store cannot be used just now (full, read-only, no permission, unreachable): no work's own fault."""

    slug, title = "store-unavailable", "The picture store cannot be used"


class TooLarge(DeepvisError):
    """The request is over a limit."""

    slug, title, status = "too-large", "Over a limit", 413


class UnknownNetwork(NotFound):
    slug, title = "unknown-network", "Unknown network"


class UnknownLayer(NotFound):
    slug, title, status = "unknown-layer", "Unknown layer", 422


class UnitOutOfRange(InvalidRequest):
    slug, title = "unit-out-of-range", "Unit out of range"


class UnknownProbeSet(NotFound):
    slug, title = "unknown-probe-set", "Unknown probe set"


class ProbeSetChanged(Conflict):
    """A probe set, or an image of it, is not what it was when it was registered."""

    slug, title = "probe-set-changed", "The probe set has changed"


class UnknownRecipe(InvalidRequest):
    slug, title = "unknown-recipe", "Unknown recipe"


class BadCheckpoint(InvalidRequest):
    """A weights file that is unsafe, broken, or does not fit the network."""

    slug, title = "bad-checkpoint", "The checkpoint cannot be used"


class BadPicture(InvalidRequest):
    """An image file that is truncated, not an image, or over the pixel limit."""

    slug, title = "bad-picture", "The picture cannot be read"


class BadArchive(InvalidRequest):
    """A file that is no archive, or one that is broken or would unpack to more than there may be."""

    slug, title = "bad-archive", "The archive cannot be read"


class BadVideo(InvalidRequest):
    """A video file that is broken, of a format that is not taken, holds no pictures, or is over a limit."""

    slug, title = "bad-video", "The video cannot be read"


class BadNetwork(InvalidRequest):
    """A network that cannot be built, traced or run."""

    slug, title = "bad-network", "The network cannot be used"


class UndefinedView(InvalidRequest):
    """A backward view that has no meaning on a network's modules; the plain gradient always has one."""

    slug, title = "undefined-view", "The backward view is not defined"


class BadSetting(DeepvisError):
    """A setting, file or service of this installation is wrong or missing."""

    slug, title = "bad-setting", "The installation is not set up right"


class LostLease(DeepvisError):
    """The shard was leased to somebody else in the meantime; this work must not be committed."""

    slug, title = "lost-lease", "The lease was lost"


class Cancelled(DeepvisError):
    """The work was given up because its atlas was cancelled or the worker is stopping."""

    slug, title = "cancelled", "Cancelled"


def by_slug(slug: str) -> type[DeepvisError]:
    """The class of that slug, for an error that comes from another process; `InvalidRequest` if there is none."""
    known = [DeepvisError]
    for kind in known:
        if kind.slug == slug:
            return kind
        known += kind.__subclasses__()
    return InvalidRequest


def nearest(name: str, known: Iterable[str]) -> str:
    """A remedy sentence with the known names closest to `name`."""
    names = list(known)
    close = get_close_matches(name, names, n=3, cutoff=0.5)
    if close:
        return f"Did you mean {' or '.join(repr(n) for n in close)}?"
    if not names:
        return "There are none."
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"There are {', '.join(repr(n) for n in sorted(names)[:5])}{more}."
