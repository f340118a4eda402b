"""One shard: lease it, compute its missing pictures, hand them to the committer; or give it up and say why."""

import logging

from core.errors import Cancelled, LostLease
from core.logs import log_context
from db.leases import Lease
from workers.committer import Parcel, describe_work, ids
from workers.engines import Engine
from workers.held import HeldLease
from workers.ledger import AWAY
from workers.reasons import explain, first_line, is_setback, report
from workers.runtime import Runtime
from workers.stages import StageTimes

log = logging.getLogger(__name__)


def run_shard(runtime: Runtime, shard_id: int) -> None:
    """Compute a shard if it still waits; nothing is raised for a failed attempt, the database notes it.

    Returns when the computing is over; the pictures may be committed later, covered by the lease.
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
    made_by = {"device": engine.device_name, "precision": engine.precision, "library_version": runtime.version}
    parcel = Parcel(held, times, **made_by)
    with times.stage("compute"):
        _fill(runtime, parcel, engine)
    held.computing = False
    return parcel


def _fill(runtime: Runtime, parcel: Parcel, engine: Engine) -> None:
    lease = parcel.lease
    pictures = engine.preferred_pictures(
        lease.layer,
        lease.recipe,
        lease.addresses,
        batch_size=runtime.settings.batch_size,
        on_progress=parcel.held.progress,
    )
    for picture in pictures:
        runtime.committer.add(parcel, picture)


def _give_up(runtime: Runtime, lease: Lease, error: BaseException) -> None:
    if not isinstance(error, Exception):  # the process is being ended
        runtime.ledger.release(lease)
        raise error
    if isinstance(error, (Cancelled, LostLease)):
        log.info("%s given back: %s", describe_work(lease), error)
        runtime.metrics.given_back()
        runtime.ledger.release(lease)
        return
    runtime.metrics.failed(error, set_back=is_setback(error) or isinstance(error, AWAY))
    if is_setback(error):
        log.warning("%s set back: %s", describe_work(lease), first_line(error))
        runtime.ledger.set_back(lease, explain(error))
        return
    if isinstance(error, AWAY):
        log.warning("%s is left to run out: %s", describe_work(lease), first_line(error))
        return
    report(f"{describe_work(lease)} failed", error)
    runtime.engines.clear()  # memory may be what was missing
    runtime.ledger.fail_attempt(lease, explain(error))
    runtime.housekeeper.wake()
