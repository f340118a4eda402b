"""Which probe sets can be used now."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import NotFound, ProbeSetChanged
from db.probe_models import ProbeSet, ProbeSetState


def find_set(session: Session, name_or_id: str, *, hold: bool = False) -> ProbeSet:
    """The set of that id or name, ready to be used; with `hold`, nobody deletes it before the transaction's end.

    Raises:
        NotFound: there is none.
        ProbeSetChanged: it was deleted, or is still being filled.
    """
    named = select(ProbeSet).where((ProbeSet.id == name_or_id) | (ProbeSet.name == name_or_id))
    if hold:
        named = named.with_for_update(read=True).execution_options(populate_existing=True)
    found = session.scalar(named)
    if found is None:
        raise NotFound(f"There is no probe set {name_or_id!r}.", "`deepvis probe list` shows what there is.")
    if found.state != ProbeSetState.READY:
        how = "was deleted" if found.state == ProbeSetState.DELETED else "is still being filled"
        raise ProbeSetChanged(f"The probe set {found.name!r} {how}.", "Ask for an atlas with a set that is ready.")
    return found
