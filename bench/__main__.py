"""`python -m bench [library|recipes|service ...]`: all of them when none is named."""

import os
import sys
from collections.abc import Callable

import torch

from bench import library, recipes, service

BENCHES: dict[str, Callable[[], None]] = {"library": library.run, "recipes": recipes.run, "service": service.run}


def main(names: list[str]) -> None:
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    for name in names or list(BENCHES):
        if name not in BENCHES:
            sys.exit(f"there is no bench named {name!r}; there are {', '.join(BENCHES)}")
        BENCHES[name]()


if __name__ == "__main__":
    main(sys.argv[1:])
