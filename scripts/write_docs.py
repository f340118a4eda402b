"""Write docs/cli.md from the commands' help and docs/settings.md from the settings (`make docs`).

A test holds the files against what this makes.
"""

from collections.abc import Iterator
from pathlib import Path

import click
from click.testing import CliRunner
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from cli.main import main as deepvis
from core.settings import Settings

DOCS = Path(__file__).resolve().parent.parent / "docs"
HELP_COLUMNS = 100


def command_reference() -> str:
    """docs/cli.md: the help of every command."""
    parts = [
        "# The `deepvis` command\n",
        "What `deepvis COMMAND --help` says, for every command. `make docs` writes this page.\n",
        "Errors go to standard error as two plain lines, what is wrong and what would be right, with exit status 2;",
        "`deepvis --debug COMMAND` adds the traceback. `atlas --wait`, `retry --wait`, `demo --once`, `doctor` and",
        "`store check` end with exit status 1 when something failed or is missing.\n",
    ]
    for names in _commands(deepvis, ()):
        title = " ".join(("deepvis", *names))
        parts.append(f"## `{title}`\n\n```text\n{help_text(names)}\n```\n")
    return "\n".join(parts)


def _commands(group: click.Group, above: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    yield above
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _commands(command, (*above, name))
        else:
            yield (*above, name)


def help_text(names: tuple[str, ...]) -> str:
    """What `deepvis NAMES --help` prints."""
    result = CliRunner().invoke(deepvis, [*names, "--help"], prog_name="deepvis", terminal_width=HELP_COLUMNS)
    if result.exit_code != 0:
        raise RuntimeError(f"deepvis {' '.join(names)} --help ended with {result.exit_code}: {result.output}")
    return result.output.strip()


def settings_reference() -> str:
    """docs/settings.md: one row a setting."""
    head = [
        "# Settings\n",
        "Read from the environment by `core/settings.py` and by nothing else. `make docs` writes this page.\n",
        "| variable | type | default | meaning |",
        "| --- | --- | --- | --- |",
    ]
    rows = [_row(name, field) for name, field in Settings.model_fields.items()]
    return "\n".join([*head, *rows]) + "\n"


def _row(name: str, field: FieldInfo) -> str:
    default = "" if field.default is PydanticUndefined else str(field.default)
    default = default.lower() if isinstance(field.default, bool) else default
    shown = f"`{default}`" if default else "empty"
    return f"| `DEEPVIS_{name.upper()}` | {_type(field)} | {shown} | {field.description} |"


def _type(field: FieldInfo) -> str:
    kinds = {
        "str": "text",
        "SecretStr": "secret",
        "int": "whole number",
        "float": "number",
        "Path": "folder",
        "bool": "true or false",
    }
    choices = getattr(field.annotation, "__args__", None)
    return ", ".join(map(str, choices)) if choices else kinds[getattr(field.annotation, "__name__", "str")]


def main() -> None:
    """Write both pages."""
    (DOCS / "cli.md").write_text(command_reference(), encoding="utf-8")
    (DOCS / "settings.md").write_text(settings_reference(), encoding="utf-8")


if __name__ == "__main__":
    main()
