"""The trail of who changed what: lines of the log under a name of their own, whatever the log's level is."""

import logging

log = logging.getLogger("deepvis.audit")


def note(owner: str, action: str, *, client: str, status: int | None = None) -> None:
    """Say who does what.

    Args:
        owner: a token's name, or an account of this machine.
        action: such as "logs in".
        client: where it comes from.
        status: of the answer, if it is a request.
    """
    log.setLevel(logging.INFO)
    answered = "" if status is None else f": {status}"
    extra = {"owner": owner, "action": action, "client": client, "status": status}
    log.info("%s, from %s, %s%s", owner, client, action, answered, extra=extra)
