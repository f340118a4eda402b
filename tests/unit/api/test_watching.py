"""What is exported, and that the dashboard, the rules and the page name nothing else."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import update

from core.errors import Conflict
from core.specs import Scope
from db import clock, workers
from db.models import Worker
from tests.conftest import ROOT
from tests.integration.records import worker_beat
from tests.unit.api.conftest import Front, MakeFront
from workers.metrics import OUTCOMES, REASONS, WorkerMetrics
from workers.stages import STAGES
from workers.sweep import check_grace

DASHBOARD = json.loads((ROOT / "deploy/grafana/deepvis.json").read_text())
PROMETHEUS = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
RULES = yaml.safe_load((ROOT / "deploy/prometheus/rules.yml").read_text())
PAGE = (ROOT / "docs/watching.md").read_text()
NAME = re.compile(r"\b(?:deepvis|process)_[a-z_]+|\bup\b")
OF_PROMETHEUS = {"up"}  # it makes this one itself


def series(registry: CollectorRegistry) -> dict[str, set[str]]:
    """The names that a query may use, with their labels."""
    ends = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "info": ("_info",)}
    found: dict[str, set[str]] = {}
    for family in registry.collect():
        labels = set(getattr(family, "_labelnames", ())).union(*(sample.labels for sample in family.samples))
        found |= {family.name + end: labels for end in ends.get(family.type, ("",))}
    return found


@pytest.fixture
def exported(front: Front) -> dict[str, set[str]]:
    front.client.get("/healthz")
    worker = WorkerMetrics()
    worker.introduce(id="w", device="cpu")
    return series(front.app.extensions["deepvis_metrics"]) | series(worker.registry)


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def expressions() -> list[str]:
    of_panels = [target["expr"] for panel in panels() for target in panel["targets"]]
    of_variables = [v["definition"] for v in DASHBOARD["templating"]["list"] if v["type"] == "query"]
    return of_panels + of_variables + [rule["expr"] for group in RULES["groups"] for rule in group["rules"]]


def names(expression: str) -> set[str]:
    """The metrics of an expression: what stands in quotes are labels' values."""
    return set(NAME.findall(re.sub(r'"[^"]*"', "", expression)))


def test_panels_and_rules_name_what_is_exported(exported: dict[str, set[str]]) -> None:
    for expression in expressions():
        assert names(expression), expression
        assert names(expression) - OF_PROMETHEUS <= set(exported), expression


def test_panels_and_rules_name_labels_that_are_exported(exported: dict[str, set[str]]) -> None:
    for expression in expressions():
        grouped = re.findall(r"\b(?:by|on) \(([^)]*)\)", expression)
        matched = re.findall(r"[{,]\s*([a-z_]+)\s*=~?\s*\"", expression)
        used = {label.strip() for group in grouped for label in group.split(",")} | set(matched)
        known = set().union(*(exported.get(name, set()) for name in names(expression)))
        assert used <= known | {"instance", "job"}, expression


def test_the_page_lists_every_metric(exported: dict[str, set[str]]) -> None:
    listed = set(re.findall(r"^\| `(deepvis_[a-z_]+)", PAGE, re.MULTILINE))
    ours = {name for name in exported if name.startswith("deepvis_") and not name.endswith(("_sum", "_count"))}
    assert listed == {name.removesuffix("_bucket") for name in ours}


def test_workers_that_beat_seldom_are_alive_wherever_one_asks(make_front: MakeFront) -> None:
    front = make_front(heartbeat_seconds=30)
    with front.services.sessions.begin() as session:
        for name, silent in (("beats", 90), ("gone", 100)):
            workers.beat(session, worker_beat(name))
            beat_at = clock.after(clock.now(session), -silent)
            session.execute(update(Worker).where(Worker.id == name).values(heartbeat_at=beat_at))
        assert workers.live(session, front.services.settings.alive_seconds).total() == 1
    service = front.client.get("/api/v1/service").get_json()
    assert {worker["id"]: worker["alive"] for worker in service["workers"]} == {"beats": True, "gone": False}
    assert 'deepvis_workers_alive{device_kind="cpu"} 1.0' in front.client.get("/metrics").text
    with pytest.raises(Conflict, match="1 workers may"):
        check_grace(front.services.sessions, front.services.settings, 0)
    assert re.findall(r"Idle|Gone \d", front.client.get("/workers").text) == ["Idle", "Gone 2"]


def test_the_page_lists_every_value_of_a_bounded_label() -> None:
    for value in (*STAGES, *OUTCOMES, *REASONS):
        assert f"`{value}`" in PAGE


def test_the_dashboard_can_be_imported() -> None:
    assert DASHBOARD["id"] is None
    assert DASHBOARD["uid"] == "deepvis"
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    for panel in panels():
        assert panel["datasource"]["uid"] == "${datasource}"
        assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(numbers)) == len(numbers)


def test_panels_lie_side_by_side_and_not_on_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


def test_rules_say_what_to_do() -> None:
    rules = [rule for group in RULES["groups"] for rule in group["rules"]]
    assert {"DeepvisNoWorkers", "DeepvisOldestPendingTooOld", "DeepvisFailuresRising"} <= {r["alert"] for r in rules}
    for rule in rules:
        assert rule["annotations"]["summary"]
        assert rule["labels"]["severity"] in {"warning", "critical"}


def test_the_scrape_example_reads_both_parts() -> None:
    assert {job["job_name"] for job in PROMETHEUS["scrape_configs"]} == {"deepvis-api", "deepvis-worker"}
    assert [Path(name) for name in PROMETHEUS["rule_files"]] == [Path("rules.yml")]
    assert (ROOT / "deploy/prometheus/rules.yml").exists()


def test_the_text_form_can_be_read(front: Front) -> None:
    answer = front.client.get("/metrics")
    assert answer.content_type.startswith("text/plain")
    found = {family.name for family in text_string_to_metric_families(answer.get_data(as_text=True))}
    assert {"deepvis_queue_shards", "deepvis_workers_alive", "deepvis_build_info", "deepvis_database_up"} <= found


def test_who_may_read_may_read_the_metrics(closed: Front) -> None:
    assert closed.client.get("/metrics").status_code == 401
    headers = {"Authorization": f"Bearer {closed.token(scope=Scope.READ)}"}
    assert closed.client.get("/metrics", headers=headers).status_code == 200
