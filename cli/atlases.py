"""Commands on atlases, over the REST API: make, look, cancel, try again, weigh."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.parse import name_list, unit_list

if TYPE_CHECKING:
    from cli.client import Client

MOST_SEEDS = 9
MOST_STEPS = 10_000
INTERRUPTED_STATUS = 130
WEIGHT = click.FloatRange(0.01, 100)


@click.command()
@click.argument("network")
@click.option("--layers", metavar="A,B", callback=name_list, help="Layers by name; default: convolutional and linear.")
@click.option("--units", metavar="0-9,12", callback=unit_list, help="Units of each layer; default: all.")
@click.option(
    "--recipes", metavar="A,B", callback=name_list, help="Styles by name; default: Fourier, the paper's four."
)
@click.option("--seeds", type=click.IntRange(1, MOST_SEEDS), help="Pictures of each unit in each style; default: 1.")
@click.option("--probe", metavar="SET", help="Also the images of this probe set that each unit answers to most.")
@click.option("--steps", type=click.IntRange(1, MOST_STEPS), help="Steps of each picture; default: the style's own.")
@click.option("--device", type=click.Choice(["any", "gpu", "cpu"]), help="What may compute it; default: any.")
@click.option(
    "--priority",
    type=click.Choice(["interactive", "batch"]),
    help="Who is served first; default: interactive if it is small; to ask for that needs the scope admin.",
)
@click.option("--weight", type=WEIGHT, help="Its share of the workers beside your other atlases; default: 1.")
@click.option(
    "--weights",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Weights for NETWORK from a .safetensors or .pth file (needs this service's database and pictures).",
)
@click.option("--wait", is_flag=True, help="Show progress until it is done; the exit status says how it went.")
@click.pass_context
def atlas(
    ctx: click.Context, /, network: str, weights: Path | None, probe: str | None, wait: bool, **wishes: Any
) -> None:
    """Make an atlas of NETWORK: pictures of what its units look for.

    What exists already (same weights, layer, unit, recipe and seed) is reused. The service must be running
    (`deepvis up`).
    """
    from cli.client import Client
    from cli.running import connected_settings

    settings = connected_settings()
    with Client(settings) as client:
        if weights is not None:
            from cli.checkpoints import register_weights

            network = register_weights(settings, network, weights)
            client.expect_network(network)
        body = {"network": network, **{name: wish for name, wish in wishes.items() if wish is not None}}
        made = client.submit({**body, "probe": {"set": probe}} if probe else body)
        click.echo(f"Atlas     {made.id} of {network}")
        if wait:
            follow_atlas(ctx, client, made.id)
        else:
            click.echo(f"Gallery   {client.url}/atlases/{made.id}")


def follow_atlas(ctx: click.Context, client: "Client", atlas_id: str) -> None:
    """Show the progress of an atlas until it ends, and end with a status that says how."""
    from cli.progress import follow, show_result

    try:
        ended = follow(client, atlas_id, time.sleep)
    except KeyboardInterrupt:
        click.echo(f"The atlas goes on without us. To stop it: deepvis cancel {atlas_id}", err=True)
        ctx.exit(INTERRUPTED_STATUS)
    show_result(client, ended)
    ctx.exit(0 if ended.state == "complete" else 1)


@click.command()
@click.argument("atlas_id")
def cancel(atlas_id: str) -> None:
    """Cancel the atlas ATLAS_ID; what is done is kept."""
    _change(atlas_id, "cancel")


@click.command()
@click.argument("atlas_id")
@click.option("--wait", is_flag=True, help="Show progress until it is done.")
@click.pass_context
def retry(ctx: click.Context, atlas_id: str, wait: bool) -> None:
    """Try again what failed in, or was cancelled with, the atlas ATLAS_ID."""
    from cli.client import Client
    from cli.running import connected_settings

    _change(atlas_id, "retry")
    if wait:
        with Client(connected_settings()) as client:
            follow_atlas(ctx, client, atlas_id)


@click.command()
@click.argument("atlas_id")
@click.argument("weight", type=WEIGHT)
def weigh(atlas_id: str, weight: float) -> None:
    """Give the unfinished atlas ATLAS_ID the share WEIGHT of the workers, beside 1 of each other atlas of yours."""
    from cli.client import Client
    from cli.running import connected_settings

    with Client(connected_settings()) as client:
        made = client.post(f"/atlases/{atlas_id}/weight", {"weight": weight})
        click.echo(f"{atlas_id}: weight {made['weight']:g}")


def _change(atlas_id: str, verb: str) -> None:
    from cli.client import Client
    from cli.running import connected_settings

    with Client(connected_settings()) as client:
        client.post(f"/atlases/{atlas_id}/{verb}")
        click.echo(f"{atlas_id}: {client.atlas(atlas_id).state.replace('_', ' ')}")
