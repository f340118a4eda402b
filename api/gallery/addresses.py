"""Addresses of pages: names that never change, so that a link to a picture stays good."""

from urllib.parse import quote, urlencode


def network(name: str, **query: object) -> str:
    """The page of a network."""
    return _with(f"/networks/{quote(name, safe='@')}", query)


def layer(network_name: str, layer_name: str, **query: object) -> str:
    """The page of a layer."""
    return _with(f"{network(network_name)}/layers/{quote(layer_name)}", query)


def unit(network_name: str, layer_name: str, number: int | str, **query: object) -> str:
    """The page of a unit."""
    return _with(f"{layer(network_name, layer_name)}/units/{number}", query)


def atlas(atlas_id: str) -> str:
    """The page of an atlas."""
    return f"/atlases/{quote(atlas_id)}"


def search(network_name: str, **query: object) -> str:
    """The page that lists a network's units by what they answer to."""
    return _with(f"{network(network_name)}/search", query)


def picture_search(search_id: str) -> str:
    """The page of a search by picture."""
    return f"/searches/{quote(search_id)}"


def probe_sets(**query: object) -> str:
    """The page of all probe sets."""
    return _with("/probe-sets", query)


def probe_set(name: str, **query: object) -> str:
    """The page of a probe set."""
    return _with(f"/probe-sets/{quote(name)}", query)


def probe_image(set_id: str, number: int) -> str:
    """The file of a whole image of a probe set."""
    return f"/api/v1/probe-sets/{quote(set_id)}/images/{number}/file"


def probe_thumbnail(set_id: str, number: int) -> str:
    """A small version of it."""
    return f"/api/v1/probe-sets/{quote(set_id)}/images/{number}/thumbnail"


def _with(path: str, query: dict[str, object]) -> str:
    """`path` with what of `query` is neither None nor empty."""
    told = {key: value for key, value in query.items() if value not in (None, "")}
    return f"{path}?{urlencode(told)}" if told else path
