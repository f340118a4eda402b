"""A worker whose parent waits for a stuck child for a second only."""

import sys

from workers import stopping
from workers.main import main

if __name__ == "__main__":
    stopping.STUCK_SECONDS = 1.0
    sys.exit(main())
