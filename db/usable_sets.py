"""Which probe sets can be used now."""

from sqlalchemy.orm import Session

from core.errors import NotFound, ProbeSetChanged
from db.probe_models import ProbeSet, ProbeSetState


def find_set(session: Session, set_id: str) -> ProbeSet:
    """The set of that id, ready to be used.

    Raises:
        NotFound: there is none.
        ProbeSetChanged: it was deleted, or is still being filled.
    """
    found = session.get(ProbeSet, set_id)
    if found is None:
        raise NotFound(f"There is no probe set {set_id!r}.", "See the list of probe sets.")
    if found.state != ProbeSetState.READY:
        how = "was deleted" if found.state == ProbeSetState.DELETED else "is still being filled"
        raise ProbeSetChanged(f"The probe set {found.name!r} {how}.", "Ask for an atlas with a set that is ready.")
    return found
