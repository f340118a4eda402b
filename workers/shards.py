"""One shard: lease it, compute its missing pictures, hand them to the committer; or give it up and say why."""

import logging

from core.errors import Cancelled, LostLease
from db.leases import Lease
from workers.committer import Parcel, describe_work
from workers.held import HeldLease
from workers.ledger import AWAY
from workers.reasons import explain, first_line, is_setback, report
from workers.runtime import Runtime

log = logging.getLogger(__name__)


def run_shard(runtime: Runtime, shard_id: int) -> None:
    """Compute a shard if it still waits; nothing is raised for a failed attempt, the database notes it.

    Returns when the computing is over; the pictures may be committed later, covered by the lease.
    """
    lease = runtime.ledger.lease(shard_id)
    if lease is None:
        log.debug("shard %s: nothing to do", shard_id)
        return
    held = runtime.held.add(lease)
    try:
        runtime.committer.check_store()
        runtime.committer.finish(_compute(runtime, held))
    except BaseException as error:
        runtime.held.remove(lease)
        _give_up(runtime, lease, error)


def _compute(runtime: Runtime, held: HeldLease) -> Parcel:
    lease = held.lease
    log.info("%s begins, attempt %d", describe_work(lease), lease.attempt)
    held.progress(0.0)
    engine = runtime.engines.engine(lease.network, lease.network_weights_hash)
    parcel = Parcel(held, device=engine.device_name, precision=engine.precision, library_version=runtime.version)
    pictures = engine.preferred_pictures(
        lease.layer,
        lease.recipe,
        lease.addresses,
        batch_size=runtime.settings.batch_size,
        on_progress=held.progress,
    )
    for picture in pictures:
        runtime.committer.add(parcel, picture)
    held.computing = False
    return parcel


def _give_up(runtime: Runtime, lease: Lease, error: BaseException) -> None:
    if not isinstance(error, Exception):  # the process is being ended
        runtime.ledger.release(lease)
        raise error
    if isinstance(error, (Cancelled, LostLease)):
        log.info("%s given back: %s", describe_work(lease), error)
        runtime.ledger.release(lease)
        return
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
    runtime.heartbeat.wake()
