"""`deepvis probe run`: put a probe set through a network, over the REST API."""

from pathlib import Path
from typing import Any

import click

from cli.atlases import follow_atlas
from cli.parse import name_list, unit_list

BACKWARD = ("gradient", "deconvolution", "guided")
MOST_TOP = 100


@click.command()
@click.argument("network")
@click.argument("probe_set", metavar="SET")
@click.option("--layers", metavar="A,B", callback=name_list, help="Layers by name; default: convolutional and linear.")
@click.option("--units", metavar="0-9,12", callback=unit_list, help="Units to draw top images of; default: all.")
@click.option("--top", type=click.IntRange(1, MOST_TOP), help="Top images of each unit; default: 9.")
@click.option("--lowest", is_flag=True, default=None, help="Also the images that each unit answers to least.")
@click.option(
    "--backward",
    metavar="A,B",
    callback=name_list,
    help=f"Backward views: {', '.join(BACKWARD)}, or none; default: all of them.",
)
@click.option(
    "--weights",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Weights for NETWORK from a .safetensors or .pth file (needs this service's database and pictures).",
)
@click.option("--device", type=click.Choice(["any", "gpu", "cpu"]), help="What may compute it; default: any.")
@click.option("--wait", is_flag=True, help="Show progress until it is done; the exit status says how it went.")
@click.pass_context
def run(ctx: click.Context, /, network: str, probe_set: str, weights: Path | None, wait: bool, **wishes: Any) -> None:
    """Find what every unit of NETWORK answers to in the probe set SET: its top images, their crops and backward views.

    What was made before (same network, set, layers and options) is not made again. The service must be running
    (`deepvis up`).
    """
    from cli.client import Client
    from cli.running import connected_settings

    given = {name: wish for name, wish in wishes.items() if wish is not None}
    if given.get("backward") == ["none"]:
        given["backward"] = []
    about: dict[str, Any] = {name: given.pop(name) for name in ("top", "lowest", "backward") if name in given}
    settings = connected_settings()
    with Client(settings) as client:
        if weights is not None:
            from cli.checkpoints import register_weights

            network = register_weights(settings, network, weights)
            client.expect_network(network)
        body = {"network": network, "preferred": False, "probe": {"set": probe_set, **about}, **given}
        made = client.submit(body)
        click.echo(f"Atlas     {made.id}: {network} on {probe_set}")
        if wait:
            follow_atlas(ctx, client, made.id)
        else:
            click.echo(f"Gallery   {client.url}/atlases/{made.id}")
