"""What the pages of the two searches say: units that prefer a label, and units that somebody's picture excites."""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from api.gallery import addresses
from api.gallery.styles import Choice
from api.gallery.words import value
from db.probe_models import ProbePass, SearchState
from db.queries.passes import PassItem, find_pass, list_passes
from db.queries.pictures import Thumbnail
from db.queries.searches import ExcitedUnit, FoundUnit, LabelSearchView, LabelUnit, PictureSearchView, search_labels

MOST_UNITS = 120
MOST_LABELS = 60
"""Labels of a set that are offered as links."""


@dataclass(frozen=True)
class Found:
    """A unit that a search found."""

    address: str
    name: str  # layer:unit
    label: str | None  # its class
    words: list[str]
    thumbnail: Thumbnail | None
    alt: str


@dataclass(frozen=True)
class SearchBox:
    """The forms that search a network, by label and by picture; of the set of one pass."""

    address: str
    probe: PassItem
    sets: list[Choice]
    labels: list[Choice]  # that can be searched for


@dataclass(frozen=True)
class LabelPage:
    """The units that prefer a label."""

    box: SearchBox
    text: str
    result: LabelSearchView | None  # None while nothing is searched for
    found: list[Found]


@dataclass(frozen=True)
class PicturePage:
    """The units that a picture excites."""

    id: str
    network: str
    network_address: str
    probe: PassItem
    set_address: str
    picture: str
    waits: bool
    error: str | None
    found: list[Found]


def search_box(session: Session, network: str, set_name: str) -> SearchBox | None:
    """The forms, for the set named or the latest; None while the network was run on none."""
    row = (find_pass(session, network, set_name) if set_name else None) or find_pass(session, network)
    passes = list_passes(session, network)
    if row is None:
        return None
    probe = next(each for each in passes if each.set_id == row.set_id)
    named = row.set.name if set_name == row.set.name else ""
    return SearchBox(
        address=addresses.search(network),
        probe=probe,
        sets=[Choice(each.set, addresses.search(network, set=each.set), each.id == probe.id) for each in passes],
        labels=_labels(network, row, named),
    )


def label_page(session: Session, network: str, text: str, set_name: str) -> LabelPage | None:
    """The page of a search by label; None while the network was run on no set."""
    box = search_box(session, network, set_name)
    if box is None:
        return None
    result = search_labels(session, network, text, set_name=box.probe.set, limit=MOST_UNITS) if text else None
    kept = set_name if set_name == box.probe.set else ""
    found = _liked_units(network, result, kept) if result else []
    return LabelPage(box, text, result, found)


def picture_page(search: PictureSearchView) -> PicturePage:
    """The page of a search by picture."""
    network = search.probe.network
    return PicturePage(
        id=search.id,
        network=network,
        network_address=addresses.network(network),
        probe=search.probe,
        set_address=addresses.probe_set(search.probe.set),
        picture=f"/api/v1/searches/{search.id}/picture",
        waits=search.state == SearchState.QUEUED,
        error=search.error,
        found=[_found(network, unit, _excited(unit), search.probe.set) for unit in search.units],
    )


def _labels(network: str, row: ProbePass, set_name: str) -> list[Choice]:
    names = sorted(set(row.set.labels))[:MOST_LABELS]
    return [Choice(name, addresses.search(network, label=name, set=set_name), chosen=False) for name in names]


def _found(network: str, unit: FoundUnit, words: list[str], set_name: str) -> Found:
    return Found(
        address=addresses.unit(network, unit.layer, unit.unit, set=set_name),
        name=unit.address,
        label=unit.label,
        words=words,
        thumbnail=unit.thumbnail,
        alt=f"Best crop of {unit.address}",
    )


def _liked_units(network: str, result: LabelSearchView, set_name: str) -> list[Found]:
    several = len(result.labels) > 1
    return [_found(network, unit, _liked(unit, several=several), set_name) for unit in result.items]


def _liked(unit: LabelUnit, *, several: bool) -> list[str]:
    """'mushroom', if several labels were meant; '+2.90 deviations', 'mean 13.3'."""
    named = unit.prefers if several else ""
    far = f"{unit.effect:+.2f} deviations" if unit.effect is not None else ""
    return [words for words in (named, far, f"mean {value(unit.mean)}") if words]


def _excited(unit: ExcitedUnit) -> list[str]:
    """'above 99.5 % of the images', '+4.2 deviations', 'activation 12.3'."""
    above = f"above {_rank(unit.percentile)} of the images" if unit.percentile is not None else ""
    far = f"{unit.deviations:+.1f} deviations" if unit.deviations is not None else ""
    likes = f"likes {unit.prefers}" if unit.prefers else ""
    return [words for words in (above, far, f"activation {value(unit.activation)}", likes) if words]


def _rank(percentile: float) -> str:
    """'all' only for all of them: 99.97 -> '99.9 %'."""
    if percentile >= 100:
        return "all"
    return f"{int(percentile * 10) / 10:g} %"
