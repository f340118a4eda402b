"""A look at a video in a process of its own: a file that takes the decoder down, or keeps it busy, takes nothing else.

    facts = probe_apart(file, video_limits_of(settings), filename="walk.mp4")

runs `python -m core.video_probe` with the open file as its standard input.
"""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from typing import BinaryIO

from core.errors import BadPicture, BadVideo
from core.uploads import Limits
from core.videos import VideoFacts, VideoLimits, probe

PROBE_SECONDS = 30.0
MOST_MEMORY_BYTES = 3 * 1024**3
"""Of addresses, most of which are never used."""
REFUSED = 3
"""Exit status with which the reason is on the standard output."""


def probe_apart(file: BinaryIO, limits: VideoLimits, *, filename: str = "", media_type: str = "") -> VideoFacts:
    """As `core.videos.probe`; `file` is one that the system knows."""
    said = json.dumps({"limits": asdict(limits), "filename": filename, "media_type": media_type})
    command = [sys.executable, "-m", __name__, said]
    file.flush()
    file.seek(0)
    try:
        ran = subprocess.run(command, stdin=file, capture_output=True, timeout=PROBE_SECONDS, check=False)  # noqa: S603  # our own
    except subprocess.TimeoutExpired as error:
        raise BadVideo(f"Looking at the video took over {PROBE_SECONDS:g} s.", "Send a simpler one.") from error
    if ran.returncode == 0:
        return VideoFacts(**json.loads(ran.stdout))
    if ran.returncode == REFUSED:
        raise _error(json.loads(ran.stdout))
    raise BadVideo("The video cannot be looked at: its decoder fails.", "Check that the file is whole.")


def _error(told: dict[str, str]) -> BadVideo | BadPicture:
    kind = BadPicture if told["kind"] == BadPicture.slug else BadVideo
    return kind(told["detail"], told["remedy"])


def main(said: str) -> int:
    """Probe the standard input; the exit status."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY_BYTES, MOST_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    wish = json.loads(said)
    limits = VideoLimits(**{**wish.pop("limits"), "pictures": Limits(**json.loads(said)["limits"]["pictures"])})
    try:
        with os.fdopen(0, "rb") as file:
            answer, status = asdict(probe(file, limits, **wish)), 0
    except (BadVideo, BadPicture) as error:
        answer, status = {"kind": error.slug, "detail": error.detail, "remedy": error.remedy}, REFUSED
    sys.stdout.write(json.dumps(answer))
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
