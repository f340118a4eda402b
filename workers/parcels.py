"""A parcel that needs nothing stored any more."""

from db.results import Result
from workers.committer import Keep, Parcel
from workers.held import HeldLease
from workers.stages import StageTimes


class ReadyParcel(Parcel):
    """A result that is complete as it is."""

    def __init__(self, held: HeldLease, times: StageTimes, result: Result) -> None:
        super().__init__(held, times)
        self._result = result

    def result(self, keep: Keep) -> Result:
        return self._result
