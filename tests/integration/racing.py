"""Running the same thing from several threads at the same moment."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

Result = TypeVar("Result")


def race(racers: Sequence[Callable[[], Result]]) -> list[Result]:
    """What each racer returned, all of them let go together; an error in one is raised here."""
    start = Barrier(len(racers))

    def run(racer: Callable[[], Result]) -> Result:
        start.wait()
        return racer()

    with ThreadPoolExecutor(len(racers)) as pool:
        return list(pool.map(run, racers))
