"""`python -m bench [library|recipes|probe|service|fleet|costs|rows|live ...]`: the first four when none is named."""

import os
import sys
from collections.abc import Callable

import torch

from bench import costs, fleet, library, live, probe, recipes, rows, service

BENCHES: dict[str, Callable[[], None]] = {
    "library": library.run,
    "recipes": recipes.run,
    "probe": probe.run,
    "service": service.run,
}
ON_REQUEST: dict[str, Callable[[], None]] = {"fleet": fleet.run, "costs": costs.run, "rows": rows.run, "live": live.run}


def main(names: list[str]) -> None:
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    for name in names or list(BENCHES):
        known = BENCHES | ON_REQUEST
        if name not in known:
            sys.exit(f"there is no bench named {name!r}; there are {', '.join(known)}")
        known[name]()


if __name__ == "__main__":
    main(sys.argv[1:])
