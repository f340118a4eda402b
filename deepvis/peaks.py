"""The highest activation of every unit's map, and where it is: looked for only where somebody asks."""

from dataclasses import dataclass
from math import isqrt

from torch import Tensor

from deepvis.tallies import NO_POSITION


@dataclass(frozen=True)
class Peaks:
    """Of N images and U units with P = R x Q positions each.

    A maximum that also says where it is takes many times as long as one that does not. So every row's is taken, and
    theirs; where it is then follows from one column of R and one row of Q numbers.
    """

    answers: Tensor  # (N, U)
    _rows: Tensor  # (N, U, R): the highest of each row
    _maps: Tensor  # (N, U, R, Q): may be overwritten after the layer's hook

    @classmethod
    def of(cls, maps: Tensor) -> "Peaks":
        """Of maps (N, U, P); one position only: the units have none."""
        cut = maps.unflatten(2, (-1, _row_length(maps.shape[2])))
        # Into the layout of what is read: another takes many times as long.
        rows = cut.permute(0, 2, 3, 1).amax(2).permute(0, 2, 1) if cut.stride(1) == 1 else cut.amax(3)
        return cls(rows.amax(2).float(), rows, cut)

    def positions(self, images: Tensor, units: Tensor) -> Tensor:
        """The first position, as a flat index, of the highest activation of each unit on its image; (...) as both."""
        row = self._rows[images, units].argmax(-1)
        rows, length = self._maps.shape[2:]
        if rows * length == 1:
            return row.fill_(NO_POSITION)
        return row * length + self._maps[images, units, row].argmax(-1)


def _row_length(positions: int) -> int:
    """The side of a square map; of any other number of positions the divisor nearest below."""
    return next(length for length in range(isqrt(positions), 0, -1) if positions % length == 0)
