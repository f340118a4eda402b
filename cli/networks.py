"""`deepvis networks` and `deepvis layers`: what there is to look at, found without a server."""

from typing import TYPE_CHECKING

import click

from cli.tables import print_json, print_table
from cli.texts import shape

if TYPE_CHECKING:
    from core.specs import LayerInfo, NetworkInfo, NetworkSource

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


@click.command()
@click.argument("search", required=False, default="")
@as_json
def networks(search: str, as_json: bool) -> None:
    """List the networks that can be visualised.

    With SEARCH, those whose name contains it.
    """
    from core.settings import load_settings
    from deepvis.networks import catalogue

    found = [s for s in catalogue(load_settings().networks_file) if search.lower() in s.name.lower()]
    if as_json:
        print_json([source.model_dump(mode="json") for source in found])
    else:
        print_table(["name", "kind", "weights"], [[s.name, s.kind, _weights(s)] for s in found])


def _weights(source: "NetworkSource") -> str:
    if source.checkpoint:
        return f"file {source.checkpoint[:8]}"
    return source.weights or ("bundled" if source.kind == "bundled" else "default")


@click.command()
@click.argument("network")
@click.option("--all", "everything", is_flag=True, help="Also layers that an atlas takes only on request.")
@as_json
def layers(network: str, everything: bool, as_json: bool) -> None:
    """List the layers of NETWORK in forward order.

    Each with its units, output shape and window (receptive field). NETWORK is loaded and traced in this process; its
    layers need no trained weights, so `NAME@random` will do.
    """
    from core.settings import load_settings
    from deepvis.layers import describe
    from deepvis.networks import find_source, load_network

    info = describe(load_network(find_source(network, load_settings().networks_file)))
    found = [layer for layer in info.layers if everything or layer.default]
    if as_json:
        print_json([layer.model_dump(mode="json") for layer in found])
        return
    _print_layers(info, found)


def _print_layers(info: "NetworkInfo", found: "list[LayerInfo]") -> None:
    click.echo(
        f"{info.source.name}: input {shape(info.input_shape)}, {info.parameters:,} parameters, "
        f"{sum(layer.units for layer in found):,} units in {len(found)} layers"
    )
    head = ["layer", "kind", "units", "output", "window", "read at"]
    rows = [[f.name, f.kind, str(f.units), shape(f.output_shape), _window(f), f.read_at] for f in found]
    print_table(head, rows, right={"units"})


def _window(layer: "LayerInfo") -> str:
    sides = f"{layer.window.height} x {layer.window.width}"
    return f"{sides} (all)" if layer.window.full else sides
