"""The documents say what the code does."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from core.settings import Settings
from scripts import write_docs

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(DOCS.rglob("*.md"))


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_command_reference_is_up_to_date() -> None:
    assert (DOCS / "cli.md").read_text() == write_docs.command_reference(), "run `make docs`"


def test_settings_table_is_up_to_date() -> None:
    assert (DOCS / "settings.md").read_text() == write_docs.settings_reference(), "run `make docs`"


def test_every_setting_has_a_description() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


@pytest.mark.parametrize("section", ["To run", "To develop"])
def test_every_dependency_has_its_reason(section: str) -> None:
    listed = project()["dependencies"] if section == "To run" else project()["optional-dependencies"]["dev"]
    wanted = [str(_bare(line)) for line in listed]
    page = (DOCS / "dependencies.md").read_text().partition(f"## {section}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([\w.\[\]-]+) \| (.+) \|$", page, re.MULTILINE)
    assert sorted(name for name, _ in rows if name not in {"package", "---"}) == sorted(wanted)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())
    local = [link for link in links if "://" not in link and not link.startswith("mailto:")]
    assert [link for link in local if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_addresses_that_a_shell_would_expand_are_quoted(page: Path) -> None:
    commands = [line for line in page.read_text().splitlines() if line.startswith("curl ")]
    assert [line for line in commands if re.search(r"\s[^'\s]*[?&*]\S*", re.sub(r"'[^']*'", "", line))] == []


def _bare(line: str) -> str:
    requirement = Requirement(line)
    return requirement.name + (f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else "")
