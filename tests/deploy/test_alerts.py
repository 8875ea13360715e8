"""The alert rules for Prometheus: promtool takes them, they speak of metrics that there are, and each fires when it should and only then."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from shadowproxy.cli.main import build_parser
from shadowproxy.control.metrics import SPECS

ROOT = Path(__file__).parent.parent.parent
RULES = ROOT / "deploy" / "prometheus-alerts.yaml"
WORLDS = Path(__file__).parent / "alerts.yaml"
ALERTS: list[dict[str, Any]] = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
LABELS = {spec.name: {*spec.labels, "instance"} for spec in SPECS}

METRIC = re.compile(r"\b(shadow(?:proxy)?_[a-z_]+)(?:\{([^}]*)\})?")

needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian package prometheus)")


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_it_speaks_of_what_there_is(alert: dict[str, Any]) -> None:
    """Metrics, labels and commands that it names exist, and so does every label that its text shows."""
    used = METRIC.findall(alert["expr"])
    assert used
    shown: set[str] = set()
    for name, selector in used:
        assert set(re.findall(r"(\w+)\s*[=!]", selector)) <= LABELS[name]
        shown |= LABELS[name]
    grouped = re.findall(r"by \(([^)]*)\)", alert["expr"])
    if grouped:
        kept = {label.strip() for label in grouped[0].split(",")}
        assert kept <= shown
        shown = kept
    text = "".join(alert["annotations"].values())
    assert set(re.findall(r"\$labels\.(\w+)", text)) <= shown
    assert alert["labels"]["severity"] in {"critical", "warning", "info"}
    for command in re.findall(r"`shadowproxy ([a-z ]+)`", text):
        build_parser().parse_args(command.split())


def test_each_is_tried_in_a_good_and_in_a_bad_world() -> None:
    """No alert that was never seen to fire, and none that was never seen to be silent."""
    good, bad, *_ = yaml.safe_load(WORLDS.read_text())["tests"]
    names = [alert["alert"] for alert in ALERTS]
    assert [one["alertname"] for one in good["alert_rule_test"]] == names
    fired = [re.findall(r'alertname="(\w+)"', one["labels"])[0] for one in bad["promql_expr_test"][0]["exp_samples"]]
    assert fired == names


@needs_promtool
def test_promtool_takes_them_and_they_fire_when_they_should(tmp_path: Path) -> None:
    """The rules of Prometheus itself, in worlds where all is well and where it is not."""
    worlds = tmp_path / "worlds.yaml"
    worlds.write_text(WORLDS.read_text().replace("RULES", str(RULES)))
    for arguments in (["check", "rules", str(RULES)], ["test", "rules", str(worlds)]):
        done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
