"""`deepvis activations` and `deepvis record`: what a picture or a video does to a network, over the REST API."""

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.parse import name_list

if TYPE_CHECKING:
    from cli.answers import JobAnswer, LayerAnswer
    from cli.client import Client

INTERRUPTED_STATUS = 130
FOLDER = click.Path(file_okay=False, path_type=Path)
EXISTING = click.Path(exists=True, dir_okay=False, path_type=Path)
WHOLE_FILES = ("whole.png", "seen.png", "activations.safetensors", "activations.npz")
RECORDING_FILES = ("probabilities.safetensors", "seconds.safetensors")

side_option = click.option(
    "--side", type=click.Choice(["after", "before"]), default="after", help="Of the non-linearity; default: after."
)


@click.command()
@click.argument("network")
@click.argument("picture", type=EXISTING)
@click.option("--layers", metavar="A,B", callback=name_list, help="Layers by name; default: every layer.")
@side_option
@click.option("--out", type=FOLDER, required=True, help="Folder for the pictures and the numbers.")
@click.pass_context
def activations(  # noqa: PLR0913, PLR0917  # its options
    ctx: click.Context, /, network: str, picture: Path, layers: list[str] | None, side: str, out: Path
) -> None:
    """Show PICTURE to NETWORK, and write what every layer answers to a folder.

    There is a grid of its units' maps for each layer, one large picture of all, and the numbers as safetensors and npz.
    The service must be running (`deepvis up`).
    """
    fields = {"network": network, "layers": ",".join(layers or ()), "side": side}
    with _client() as client:
        job = _finished(ctx, client, client.send_file("activations", "picture", picture, fields))
        out.mkdir(parents=True, exist_ok=True)
        for name in WHOLE_FILES:
            client.save(job.links[name], out / name)
        for layer in job.result.layers:
            client.save(job.links[layer.grid], out / f"{_stem(layer)}.png")
        click.echo(f"Written   {out}: whole.png, {len(job.result.layers)} layers, activations.safetensors and .npz")


@click.command()
@click.argument("network")
@click.argument("video", type=EXISTING)
@click.option("--layers", metavar="A,B", callback=name_list, required=True, help="Layers by name, up to 12.")
@side_option
@click.option("--step", type=click.IntRange(1, 1000), default=1, help="Use one frame in every STEP; default: 1.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The video (WebM).")
@click.option("--data", type=FOLDER, help="Folder for the numbers, too: a safetensors file for each layer.")
@click.pass_context
def record(  # noqa: PLR0913, PLR0917  # its options
    ctx: click.Context, /, network: str, video: Path, layers: list[str], out: Path, data: Path | None, **how: Any
) -> None:
    """Show VIDEO (or an animated picture) to NETWORK, and write a video of what some layers answer beside it.

    The service must be running (`deepvis up`).
    """
    fields = {"network": network, "layers": ",".join(layers), "data": "yes" if data else "no"}
    fields |= {name: str(value) for name, value in how.items()}
    with _client() as client:
        job = _finished(ctx, client, client.send_file("recordings", "video", video, fields))
        out.parent.mkdir(parents=True, exist_ok=True)
        client.save(job.links["recording.webm"], out)
        if data is not None:
            _save_numbers(client, job, data)
        click.echo(f"Written   {out}: {job.done} frames{f', numbers in {data}' if data else ''}")
        if job.result.ended:
            click.echo(f"The video could not be read to its end. {job.result.ended}", err=True)
            ctx.exit(1)


def _save_numbers(client: "Client", job: "JobAnswer", folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in RECORDING_FILES:
        client.save(job.links[name], folder / name)
    for layer in job.result.layers:
        client.save(job.links[layer.data], folder / f"{_stem(layer)}.safetensors")


def _client() -> "Client":
    from cli.client import Client
    from cli.running import connected_settings

    return Client(connected_settings())


def _finished(ctx: click.Context, client: "Client", job: "JobAnswer") -> "JobAnswer":
    """The job once it is done; ends the command if it fails, is cancelled, or nobody waits any longer."""
    from cli.following import follow_job

    page = f"{client.url}{job.links['gallery']}"
    try:
        ended = follow_job(client, job, time.sleep)
    except KeyboardInterrupt:
        click.echo(f"It goes on without us: {page}", err=True)
        ctx.exit(INTERRUPTED_STATUS)
    if ended.state != "done":
        click.echo(f"{ended.state.capitalize()}: {ended.error or 'on request'}", err=True)
        ctx.exit(1)
    click.echo(f"Gallery   {page}")
    return ended


def _stem(layer: "LayerAnswer") -> str:
    """A file's name that sorts as the layers do: "03-features.6"."""
    return f"{layer.order:02d}-{re.sub(r'[^A-Za-z0-9._-]', '_', layer.layer)}"
