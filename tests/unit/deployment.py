"""What the files of a deployment say: their documents, the commands they run, the settings they name."""

import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from cli.main import main
from tests.conftest import ROOT

KUBERNETES = ROOT / "deploy/kubernetes"
COMPOSE = [ROOT / "docker-compose.yml", ROOT / "docker-compose.gpu.yml"]
OVERLAYS = [path.parent for path in sorted(KUBERNETES.glob("overlays/*/kustomization.yaml"))]

Document = dict[str, Any]


def interpolated(path: Path) -> str:
    """A compose file as it is with nothing set: `${NAME:-default}` is its default, `${NAME:?}` some text."""
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", path.read_text())
    return re.sub(r"\$\{\w+:\?[^}]*\}", "given", text)


def services(path: Path) -> dict[str, Document]:
    """The services of a compose file by name."""
    found: dict[str, Document] = yaml.safe_load(interpolated(path))["services"]
    return found


def rendered(overlay: Path, folder: Path) -> list[Document]:
    """What `kubectl apply -k` would send. Skipped without kubectl, in CI too: nothing else needs it."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    copy = folder / "kubernetes"
    if not copy.exists():
        shutil.copytree(KUBERNETES, copy)
    inside = copy / overlay.relative_to(KUBERNETES)
    for example in inside.glob("*.example"):
        shutil.copy(example, example.with_suffix(""))
    done = subprocess.run(["kubectl", "kustomize", inside], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def manifests() -> Iterator[tuple[Path, Document]]:
    """Every object in the files themselves, without kustomize."""
    for path in sorted(KUBERNETES.rglob("*.yaml")):
        if path.name != "kustomization.yaml":
            yield from ((path, document) for document in yaml.safe_load_all(path.read_text()))


def pods(documents: Sequence[Document]) -> dict[str, Document]:
    """The pods' specifications by the names of what makes them."""
    return {
        each["metadata"]["name"]: each["spec"]["template"]["spec"]
        for each in documents
        if "template" in each.get("spec", {})
    }


def containers(pod: Document) -> list[Document]:
    """Those that start the pod and those that are it."""
    return [*pod.get("initContainers", []), *pod["containers"]]


def check_command(arguments: Sequence[str]) -> None:
    """Fail unless `deepvis ARGUMENTS` is a command that there is."""
    command: click.Command = main
    # A command keeps the names of its help option from its first context: each has the one above it, as when it is run.
    context = click.Context(main, info_name="deepvis", **main.context_settings)
    rest = list(arguments)
    while isinstance(command, click.Group):
        found, command, rest = command.resolve_command(context, rest)  # type: ignore[assignment]
        if isinstance(command, click.Group):
            context = click.Context(command, parent=context, info_name=found)
    command.make_context(found, rest, parent=context)


def deepvis_commands(words: Sequence[str]) -> list[list[str]]:
    """The arguments of each `deepvis` in a command of a health check, by itself or in a line for a shell."""
    lines = re.split(r"[;&|]+", words[-1]) if words[:2] == ["sh", "-c"] else [" ".join(words)]
    return [line.split()[1:] for line in lines if line.split()[:1] == ["deepvis"]]
