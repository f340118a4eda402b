"""A worker whose plans take long: it stores one shard at a time and rests, so that much can happen to it meanwhile."""

import sys
import time
from collections.abc import Iterable, Iterator

from core.specs import ShardSpec
from workers import control
from workers.main import main

REST_SECONDS = 0.2


def one_at_a_time(shards: Iterable[ShardSpec], _size: int) -> Iterator[list[ShardSpec]]:
    for shard in shards:
        yield [shard]
        time.sleep(REST_SECONDS)


if __name__ == "__main__":
    control.chunks = one_at_a_time  # type: ignore[assignment]
    sys.exit(main())
