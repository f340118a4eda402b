"""One shard: lease it, compute what is missing, hand that to the committer; or give it up and say why."""

import logging

from core.errors import Cancelled, LostLease
from core.logs import log_context
from db.outages import is_outage
from db.work import BackwardLease, Lease, MergeLease, PreferredLease, ProbeLease
from workers.committer import Parcel, describe_work, ids
from workers.engines import Engine
from workers.held import HeldLease
from workers.pictures import compute_pictures
from workers.reasons import explain, first_line, is_final, is_setback, report
from workers.runtime import Runtime
from workers.stages import StageTimes

log = logging.getLogger(__name__)


def run_shard(runtime: Runtime, shard_id: int) -> None:
    """Compute a shard if it still waits; nothing is raised for a failed attempt, the database notes it.

    Returns when the computing is over; its result may be committed later, covered by the lease.
    """
    times = StageTimes()
    with times.stage("lease"):
        lease = runtime.ledger.lease(shard_id)
    if lease is None:
        log.info("shard %s: nothing to do here (done, given up, or another worker has it)", shard_id)
        return
    with log_context(**ids(lease)):
        _work(runtime, lease, times)


def _work(runtime: Runtime, lease: Lease, times: StageTimes) -> None:
    held = runtime.held.add(lease)
    try:
        runtime.committer.check_store()
        runtime.committer.finish(_compute(runtime, held, times))
    except BaseException as error:
        runtime.held.remove(lease)
        _give_up(runtime, lease, error)
    finally:
        runtime.metrics.computed(times)


def _compute(runtime: Runtime, held: HeldLease, times: StageTimes) -> Parcel:
    lease = held.lease
    log.info("%s begins, attempt %d", describe_work(lease), lease.attempt)
    held.progress(0.0)
    with times.stage("load"):
        engine = runtime.engines.engine(lease.network, lease.network_weights_hash)
    with times.stage("compute"):
        parcel = _computed(runtime, engine, held, times)
    held.end_computing()
    return parcel


def _computed(runtime: Runtime, engine: Engine, held: HeldLease, times: StageTimes) -> Parcel:
    """The work itself, by its kind. What imports torch is imported when it is needed: see `workers.engines`."""
    match held.lease:
        case PreferredLease() as lease:
            return compute_pictures(runtime, engine, held, lease, times)
        case ProbeLease() as lease:
            from workers.probing import compute_range

            return compute_range(runtime, engine, held, lease, times)
        case MergeLease() as lease:
            from workers.merging import put_together

            return put_together(runtime, engine, held, lease, times)
        case BackwardLease() as lease:
            from workers.views import compute_views

            return compute_views(runtime, engine, held, lease, times)
        case lease:
            raise TypeError(f"shard {lease.shard_id} is of a kind that this worker does not know")


def _give_up(runtime: Runtime, lease: Lease, error: BaseException) -> None:
    if not isinstance(error, Exception):  # the process is being ended
        runtime.ledger.release(lease)
        raise error
    if isinstance(error, (Cancelled, LostLease)):
        log.info("%s given back: %s", describe_work(lease), error)
        runtime.metrics.given_back()
        runtime.ledger.release(lease)
        return
    runtime.metrics.failed(error, set_back=is_setback(error) or is_outage(error))
    if is_setback(error):
        log.warning("%s set back: %s", describe_work(lease), first_line(error))
        runtime.ledger.set_back(lease, explain(error))
        return
    if is_outage(error):
        log.warning("%s is left to run out: %s", describe_work(lease), first_line(error))
        return
    report(f"{describe_work(lease)} failed", error)
    if not is_final(error):
        runtime.engines.clear()  # memory may be what was missing
    runtime.ledger.fail_attempt(lease, explain(error), final=is_final(error))
    runtime.housekeeper.wake()
