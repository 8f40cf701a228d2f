"""What is in deploy/ for Prometheus and Grafana: it is valid, it speaks of metrics that exist, and its alerts fire."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from springtide_services.metrics import catalogue

DEPLOY = Path(__file__).parents[1] / "deploy"
ALERTS = DEPLOY / "prometheus/alerts.yaml"
ALERTS_TEST = DEPLOY / "prometheus/alerts_test.yaml"
DASHBOARD = json.loads((DEPLOY / "grafana/springtide.json").read_text())
METRIC = re.compile(r"\b(?:springtide|grpc_server|process)_\w+")


def alerts() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def panels() -> Iterator[dict[str, Any]]:
    return (panel for panel in DASHBOARD["panels"] if panel["type"] != "row")


def expressions() -> list[str]:
    """Return all expressions of the alerts and the dashboard."""
    drawn = [target["expr"] for panel in panels() for target in panel["targets"]]
    noted = [each["expr"] for each in DASHBOARD["annotations"]["list"]]
    return [*(alert["expr"] for alert in alerts()), *drawn, *noted]


def series_of(spec: catalogue.MetricSpec) -> set[str]:
    if spec.kind == "histogram":
        return {f"{spec.name}_{part}" for part in ("bucket", "sum", "count")}
    return {spec.name}


def promtool(*words: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("needs promtool, of Debian's package prometheus")
    return subprocess.run([program, *words], capture_output=True, text=True, timeout=120, cwd=cwd)


def test_alerts_and_dashboard_speak_of_metrics_that_exist() -> None:
    known = {
        series for spec in (*catalogue.SERVER, *catalogue.TRAINER, *catalogue.PROCESS) for series in series_of(spec)
    }
    used = {name for expression in expressions() for name in METRIC.findall(expression)}
    assert used - known == set()
    unseen = {name for name in known - used if not name.startswith("process_")}
    # What else is there, for those who look for a cause.
    assert unseen <= {
        "springtide_info",
        "springtide_ready",
        "springtide_stream_gaps",
        "springtide_stream_newest_event_timestamp_seconds",
        "springtide_rebuild_reasons",
        "springtide_index_used",
        "springtide_index_items",
        "springtide_index_recall_ratio",
        "springtide_index_answers_total",
        "springtide_index_failures_total",
        "springtide_quality_mrr_ratio",
        "springtide_quality_questions",
        "springtide_training_updated_timestamp_seconds",
        "springtide_experiment_events_uncounted_total",
        "springtide_trainer_training_seconds_total",
        "springtide_trainer_running",
        "springtide_trainer_begun_timestamp_seconds",
        "springtide_trainer_published_timestamp_seconds",
    }


def test_each_alert_is_tested_and_has_a_runbook() -> None:
    tested = yaml.safe_load(ALERTS_TEST.read_text())["tests"][0]["promql_expr_test"][0]["exp_samples"]
    fires = {re.findall(r'alertname="(\w+)"', sample["labels"])[0] for sample in tested}
    readme = (DEPLOY / "README.md").read_text()
    assert fires == {alert["alert"] for alert in alerts()}
    for alert in alerts():
        anchor = alert["annotations"]["runbook"].removeprefix("deploy/README.md#")
        assert anchor == alert["alert"].lower()
        assert f'<a id="{anchor}"></a>`{alert["alert"]}` |' in readme
        assert alert["labels"]["severity"] in ("warning", "critical")
        assert len(alert["annotations"]["summary"]) > 20


def test_alerts_fire_for_what_is_sick_and_not_for_what_is_well(tmp_path: Path) -> None:
    assert promtool("check", "config", "--syntax-only", DEPLOY / "prometheus/prometheus.yml").returncode == 0
    done = promtool("test", "rules", ALERTS_TEST)
    assert done.returncode == 0, done.stderr + done.stdout
    # An alert that would always fire fails them, and so does one that never would.
    for name, expression in (("always", "vector(1)"), ("never", "vector(1) > 2")):
        changed = yaml.safe_load(ALERTS.read_text())
        changed["groups"][0]["rules"][-1]["expr"] = expression
        folder = tmp_path / name
        folder.mkdir()
        (folder / "alerts.yaml").write_text(yaml.safe_dump(changed))
        shutil.copy(ALERTS_TEST, folder)
        assert promtool("test", "rules", folder / ALERTS_TEST.name).returncode != 0, name


def test_the_dashboard_is_drawn_without_gaps() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {(place["x"] + column, place["y"] + row) for column in range(place["w"]) for row in range(place["h"])}
        assert not cells & taken, f"{panel['title']} lies on another one"
        taken |= cells
    for panel in panels():
        assert panel["title"]
        assert panel["description"], panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}", "of whichever Prometheus there is"
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    assert {each["name"] for each in DASHBOARD["templating"]["list"]} == {"datasource", "instance"}


def test_grafana_finds_prometheus_and_the_dashboard() -> None:
    sources, boards = (
        yaml.safe_load((DEPLOY / f"grafana/provisioning/{kind}/springtide.yaml").read_text())
        for kind in ("datasources", "dashboards")
    )
    assert [source["type"] for source in sources["datasources"]] == ["prometheus"]
    assert boards["providers"][0]["options"]["path"].startswith("/")
