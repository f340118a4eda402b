"""`deepvis up` and `deepvis demo`: everything on this machine, in the foreground, until Ctrl-C."""

from typing import TYPE_CHECKING

import click

from cli.supervisor import StopRequested

if TYPE_CHECKING:
    from cli.stack import Stack

DEMO_NETWORK = "demo"

port_option = click.option("--port", type=click.IntRange(0, 65535), help="Port of the web server; a free one if taken.")
verbose_option = click.option("--verbose", "-v", is_flag=True, help="Show every log line, not just warnings.")


@click.command()
@port_option
@verbose_option
def up(port: int | None, verbose: bool) -> None:
    """Run everything on this machine until Ctrl-C.

    That is the database, the pictures, Redis, one worker, one for live activations, and the web server. Redis is
    started for you unless DEEPVIS_BROKER_URL names one. Everything is kept in DEEPVIS_HOME; atlases that are not
    finished go on the next time.
    """
    from cli.service import given
    from cli.stack import running_stack, say
    from core.settings import load_settings

    try:
        with running_stack(load_settings(**given(port=port)), verbose=verbose) as stack:
            say("Gallery", stack.settings.resolved_url)
            serve_until_stopped(stack)
    except StopRequested:
        click.echo("Stopped.")


@click.command()
@click.option("--once", is_flag=True, help="End when every unit has its pictures, instead of serving the gallery.")
@click.option(
    "--seeds", type=click.IntRange(1, 9), default=1, show_default=True, help="Pictures of each unit in each style."
)
@port_option
@verbose_option
@click.pass_context
def demo(ctx: click.Context, once: bool, seeds: int, port: int | None, verbose: bool) -> None:
    """Run everything, and make the whole atlas of the bundled demo network.

    Its gallery stays open until Ctrl-C.

    With --once the exit status is 0 when every unit has its pictures and the gallery answers.
    """
    from cli.service import given
    from cli.stack import running_stack
    from core.settings import load_settings

    try:
        with running_stack(load_settings(**given(port=port)), verbose=verbose) as stack:
            good = make_demo(stack, seeds)
            if once:
                ctx.exit(0 if good else 1)
            serve_until_stopped(stack)
    except StopRequested:
        click.echo("Stopped.")
        ctx.exit(130 if once else 0)


def make_demo(stack: "Stack", seeds: int) -> bool:
    """Submit the demo network's atlas and follow it; True if every unit has its pictures and the gallery shows them."""
    from cli.client import Client
    from cli.gallery_check import gallery_is_whole
    from cli.probe_fill import add_demo_set
    from cli.progress import follow, show_result

    with Client(stack.settings) as client:
        atlas = client.submit({"network": DEMO_NETWORK, "seeds": seeds}, stack.supervisor.wait)
        add_demo_set(client, stack.settings)
        atlas = follow(client, atlas.id, stack.supervisor.wait)
        show_result(client, atlas)
        return atlas.state == "complete" and gallery_is_whole(client, atlas.id)


def serve_until_stopped(stack: "Stack") -> None:
    """Say how to stop, and watch the children until a signal comes."""
    click.echo("Ctrl-C stops everything.")
    while True:
        stack.supervisor.wait(3600)
