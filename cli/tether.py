"""Run a command that ends when its parent does: `python tether.py PARENT_PID COMMAND...`.

A parent that is killed outright cannot stop its children; on Linux the kernel does it for us, and this small program
asks for that and then becomes the command. Elsewhere it just becomes the command. It imports the standard library only.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Ask the kernel for SIGTERM when the parent ends (Linux; prctl(2))."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)


def main(arguments: list[str]) -> None:
    """Become the command in `arguments[1:]`, unless the parent with the id in `arguments[0]` is gone already."""
    die_with_parent()
    if os.getppid() != int(arguments[0]):
        raise SystemExit("the parent has ended")
    os.execvp(arguments[1], arguments[1:])  # noqa: S606  # the supervisor gives the command, as a list


if __name__ == "__main__":
    main(sys.argv[1:])
