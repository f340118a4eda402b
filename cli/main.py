"""The `deepvis` command: its groups, and how errors look. Heavy imports happen inside the commands only."""

import sys
import traceback
from typing import Any

import click

from cli.activations import activations, record
from cli.atlases import atlas, cancel, retry, weigh
from cli.database import db
from cli.doctor import doctor
from cli.health import health
from cli.networks import layers, networks
from cli.probe import probe
from cli.probe_run import run
from cli.service import api, worker
from cli.status import status
from cli.store import store_group
from cli.tokens import tokens
from cli.up import demo, up
from cli.words import in_words
from core.errors import DeepvisError

ERROR_STATUS = 2


class CommandLine(click.Group):
    """A group whose commands report our own errors in two plain lines: what is wrong, what would be right."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of use, not of the alphabet."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            ours = in_words(error)
            if ours is None:
                raise
            if ctx.params.get("debug"):
                traceback.print_exc()
            report(ours)
            ctx.exit(ERROR_STATUS)


def report(error: DeepvisError) -> None:
    """Print `error` to stderr."""
    click.secho(f"Error: {error.detail}", fg="red", err=True)
    if error.remedy:
        click.echo(error.remedy, err=True)


@click.group(cls=CommandLine, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(package_name="deepvis")
def main(debug: bool) -> None:
    """Point it at any image network and get back a browsable atlas of every layer and every unit.

    Start with `deepvis up` (everything on this machine), then `deepvis atlas NETWORK --wait`.
    Settings come from the environment (DEEPVIS_*): docs/settings.md lists them.
    """


COMMANDS = (
    *(up, demo, atlas, status, cancel, retry, weigh, activations, record, networks, layers, probe),
    *(worker, api, db, store_group, tokens, health, doctor),
)
for command in COMMANDS:
    main.add_command(command)
probe.add_command(run)

if __name__ == "__main__":
    sys.exit(main())
