"""The documents say what the code does."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from core.settings import Settings, load_settings
from core.specs import NetworkSource
from db.migrate import upgrade
from db.networks import register
from db.session import make_engine, make_sessions
from scripts import write_docs
from store import open_store

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


def test_files_that_nothing_points_to_are_listed_as_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DEEPVIS_HOME", str(tmp_path))
    settings = load_settings()
    upgrade(settings.resolved_database_url)
    store = open_store(settings.resolved_store_url)
    kept, orphan = store.put(b"weights"), store.put(b"of a lost attempt")
    engine = make_engine(settings.resolved_database_url)
    with make_sessions(engine).begin() as session:
        register(session, NetworkSource(name="x", kind="torchvision", builder="alexnet", checkpoint=kept))
    [code] = re.findall(r"```python\n(.*?)```", (DOCS / "operating.md").read_text(), re.DOTALL)
    exec(code, {})
    assert capsys.readouterr().out.split() == [orphan]
    engine.dispose()


def _bare(line: str) -> str:
    requirement = Requirement(line)
    return requirement.name + (f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else "")
