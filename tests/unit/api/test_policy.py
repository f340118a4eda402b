"""The pages keep the policy that their headers state: no inline script, no inline style, nothing from elsewhere."""

import re
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.unit.api.conftest import Front, Pictured, problem

TEMPLATES = sorted((ROOT / "api").rglob("templates/**/*.html"))
SCRIPTS = sorted((ROOT / "api").rglob("static/**/*.js"))
STYLES = sorted((ROOT / "api").rglob("static/**/*.css"))
INLINE = re.compile(
    r"""<style|\sstyle\s*=|\son[a-z]+\s*=\s*["']|<script(?![^>]*\bsrc=)|javascript:|\ssrcdoc\s*=""", re.I
)
ELSEWHERE = re.compile(r"""(?:src|href|action)\s*=\s*["'](?:https?:)?//""", re.I)
PAGES = (
    "/", "/home/live", "/live", "/atlases", "/atlases/live", "/networks", "/networks/tiny", "/networks/unseen",
    "/networks/tiny/layers/conv", "/networks/tiny/layers/conv/units/0", "/networks/tiny/layers/conv/units/1",
    "/search", "/search?q=a", "/login", "/api/v1/docs", "/problems", "/problems/over-quota", "/nothing",
)  # fmt: skip


def test_there_are_templates() -> None:
    assert len(TEMPLATES) > 12
    assert SCRIPTS
    assert STYLES


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_no_template_has_inline_script_or_style(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert INLINE.findall(text) == []
    assert ELSEWHERE.findall(text) == []


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_no_script_does_what_the_policy_forbids(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert re.findall(r"\beval\(|new Function|insertAdjacentHTML|\.cssText|setAttribute\([\"']style", text) == []
    assert re.findall(r"\.innerHTML\s*=[^=]|\.outerHTML\s*=[^=]|document\.write", text) == []  # pages from text


@pytest.mark.parametrize("path", STYLES, ids=lambda path: path.name)
def test_no_style_sheet_loads_anything(path: Path) -> None:
    assert re.findall(r"url\(|@import", path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", PAGES)
def test_no_page_has_inline_script_or_style(front: Front, pictured: Pictured, path: str) -> None:
    page = front.client.get(path, headers={"Accept": "text/html"})
    assert page.mimetype == "text/html"
    assert INLINE.findall(page.text) == []
    assert ELSEWHERE.findall(page.text) == []


def test_the_pages_of_an_atlas_have_none_either(front: Front, pictured: Pictured) -> None:
    for path in (f"/atlases/{pictured.atlas}", f"/atlases/{pictured.atlas}/live"):
        assert INLINE.findall(front.client.get(path).text) == []


def test_a_problem_of_a_page_is_a_page(closed: Front) -> None:
    assert "<h1>" in closed.client.post("/logout", headers={"Accept": "text/html"}).text
    problem(closed.client.post("/logout"), 403, "forbidden")
