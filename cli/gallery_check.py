"""Is the gallery whole: has every unit of an atlas its pictures, and do the pages and files answer?"""

from collections.abc import Iterator
from typing import Any

import click

from cli.client import ApiProblem, Client
from core.specs import AtlasSpec

PAGE_UNITS = 500


def gallery_is_whole(client: Client, atlas_id: str) -> bool:
    """True if it is; what is missing is printed."""
    document = client.get(f"/atlases/{atlas_id}")
    spec = AtlasSpec.model_validate(document["spec"])
    layers = _layers(client, spec)
    missing = [address for layer in layers for address in _missing_pictures(client, spec, layer)]
    broken = [path for path in _addresses(client, atlas_id, spec.network, layers[0]) if not _answers(client, path)]
    for what in [*(f"no picture of {address}" for address in missing), *(f"no answer at {path}" for path in broken)]:
        click.echo(f"Missing: {what}", err=True)
    if not missing and not broken:
        click.echo("Checked   every unit has its pictures, and the gallery answers")
    return not missing and not broken


def _layers(client: Client, spec: AtlasSpec) -> list[str]:
    """Names of the atlas's layers, in forward order."""
    items = client.get(f"/networks/{spec.network}/layers")["items"]
    return [item["name"] for item in items if (item["name"] in spec.layers if spec.layers else item["default"])]


def _missing_pictures(client: Client, spec: AtlasSpec, layer: str) -> Iterator[str]:
    wanted = set(spec.units)
    for recipe in spec.recipes:
        for seed in range(spec.seeds):
            for item in _units(client, spec.network, layer, recipe=recipe.content_hash(), seed=seed):
                if item["picture"] is None and (not wanted or item["unit"] in wanted):
                    yield f"{item['address']} ({recipe.name}, seed {seed})"


def _units(client: Client, network: str, layer: str, **query: Any) -> Iterator[dict[str, Any]]:
    cursor: str | None = None
    while True:
        page = {} if cursor is None else {"cursor": cursor}
        document = client.get(f"/networks/{network}/layers/{layer}/units", limit=PAGE_UNITS, **query, **page)
        yield from document["items"]
        cursor = document["next_cursor"]
        if cursor is None:
            return


def _addresses(client: Client, atlas_id: str, network: str, layer: str) -> Iterator[str]:
    """One page of each kind, one picture and one sprite sheet."""
    unit = next(item for item in _units(client, network, layer) if item["thumbnail"] is not None)
    here = f"/networks/{network}/layers/{layer}"
    yield from ("/", f"/networks/{network}", here, f"{here}/units/{unit['unit']}", f"/atlases/{atlas_id}")
    yield f"/api/v1/pictures/{unit['picture']}/file"
    yield f"/sheets/{unit['thumbnail']['sheet']}.webp"


def _answers(client: Client, path: str) -> bool:
    try:
        return bool(client.request("GET", path).content)
    except ApiProblem:
        return False
