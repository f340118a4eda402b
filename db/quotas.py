"""What one owner may have: atlases unfinished at once, unit-images in 24 hours.

The owner's row is locked while it is counted, so that two wishes at the same moment cannot both take the last place.
What the settings say holds unless the owner's token says otherwise. A wish counts in full from the moment it is made,
whatever becomes of it; only an atlas whose planning failed made nothing and counts nothing.
"""

from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.errors import OverQuota
from core.specs import AtlasSpec
from db import clock
from db.completion import UNFINISHED, lock_atlas, lock_owner
from db.models import Atlas, AtlasState, Layer, Network, Token
from db.probe_models import ProbeSet

DAY_SECONDS = 24 * 3600.0


def images_of(session: Session, network: Network, spec: AtlasSpec) -> int | None:
    """The images that the wish stands for; None while the network's layers are not known.

    Each preferred picture is one, each image of a probe set, and each top image with its views.
    """
    if not network.layers:
        return None
    looked_at = session.scalar(select(ProbeSet.images).where(ProbeSet.id == spec.probe.set)) if spec.probe else 0
    return _units(network, spec) * len(spec.recipes) * spec.seeds + (looked_at or 0) + views_of(session, network, spec)


def views_of(session: Session, network: Network, spec: AtlasSpec) -> int:
    """The top images that crops and backward views are made of."""
    if spec.probe is None:
        return 0
    there = session.scalar(select(ProbeSet.images).where(ProbeSet.id == spec.probe.set)) or 0
    return _units(network, spec) * min(spec.probe.top, there) * len(spec.probe.sides)


def _units(network: Network, spec: AtlasSpec) -> int:
    named = len(set(spec.units))
    return sum(named or layer.units for layer in chosen_layers(network, spec))


def chosen_layers(network: Network, spec: AtlasSpec) -> list[Layer]:
    """The described network's layers that the wish covers: those it names, else those an atlas takes by itself."""
    names = set(spec.layers)
    return [layer for layer in network.layers if (layer.name in names if names else layer.default)]


def check_open(session: Session, owner: str, max_open: int) -> None:
    """Refuse one more unfinished atlas of `owner`, whose row is locked.

    Raises:
        OverQuota: there are as many as there may be.
    """
    most = _override(session, owner, "max_open_atlases", max_open)
    unfinished = select(func.count()).select_from(Atlas).where(Atlas.owner == owner, Atlas.state.in_(UNFINISHED))
    count = session.scalar(unfinished) or 0
    if count >= most:
        raise OverQuota(f"{count} atlases of {owner!r} are unfinished, and {most} may be.", "Wait, or cancel one.")


def check_size(images: int | None, max_images: int) -> None:
    """Refuse an atlas that is too large by itself (None: its size is not known yet), whoever asks for it.

    Raises:
        OverQuota: it covers more than `max_images` unit-images (0: any number).
    """
    if max_images and (images or 0) > max_images:
        detail = f"The atlas would cover {images} unit-images, and {max_images} may be."
        raise OverQuota(detail, "Ask for fewer layers, units, recipes or seeds (DEEPVIS_MAX_IMAGES_PER_ATLAS).")


def check_images(session: Session, owner: str, images: int | None, max_images_per_day: int) -> None:
    """Refuse `images` more (None: an unknown number) in 24 hours of `owner`, whose row is locked.

    Raises:
        OverQuota: together with what was asked for before, they are more than there may be.
    """
    most = _override(session, owner, "max_images_per_day", max_images_per_day)
    if most == 0:
        return
    before = _asked_for(session, owner, clock.after(clock.now(session), -DAY_SECONDS))
    if before + (images or 1) > most:
        detail = f"{owner!r} may ask for {most} unit-images in 24 hours, and has asked for {before}"
        more = f"; this wish stands for {images} more." if images else "."
        raise OverQuota(detail + more, "Ask for less, or wait.")


def claim_images(session: Session, atlas_id: str, max_images_per_day: int, max_images: int = 0) -> None:
    """Count an atlas whose size was not known when it was made, now that its network is described.

    For its planner, before anything of the plan is stored. Nothing if it has been counted.

    Raises:
        NotFound: there is no such atlas.
        OverQuota: it is more than its owner may ask for, or than one atlas may cover.
    """
    atlas = lock_atlas(session, atlas_id)
    images = images_of(session, atlas.network, AtlasSpec.model_validate(atlas.spec))
    if atlas.images or images is None:
        return
    check_size(images, max_images)
    lock_owner(session, atlas.owner)
    check_images(session, atlas.owner, images, max_images_per_day)
    atlas.images = images


def _override(session: Session, owner: str, column: str, default: int) -> int:
    """What the owner's token says, else the default."""
    said = session.scalar(select(getattr(Token, column)).where(Token.name == owner))
    return default if said is None else int(said)


def _asked_for(session: Session, owner: str, since: datetime) -> int:
    mine = (Atlas.owner == owner, Atlas.created_at > since, Atlas.state != AtlasState.FAILED)
    return int(session.scalar(select(func.coalesce(func.sum(Atlas.images), 0)).where(*mine)) or 0)
