"""`shadowproxy experiment plan`: with an instance, and without one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from shadowproxy.cli.main import main
from tests.cli.conftest import served
from tests.control.governed import plain

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Run
    from tests.kit import SupervisedProxy

OFFLINE = ["--rate", "200", "--error-rate", "1", "--units", "20", "--p50", "0.05", "--p99", "0.2"]
SLO = """\
apiVersion: openslo/v1
kind: SLO
metadata: {name: checkout}
spec:
  service: shop
  timeWindow: [{duration: 7d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{target: 0.99}]
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    """An experiment file; JSON is YAML."""
    written = tmp_path / "experiment.yaml"
    written.write_text(json.dumps(plain(duration=600)))
    return str(written)


def test_a_plan_without_an_instance(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """All numbers are given; 0 says that its duration suffices, 1 that it does not."""
    assert main(["experiment", "plan", file, *OFFLINE, "--errors", "10"]) == 0
    said = capsys.readouterr().out
    assert "points more errors than 1 % takes about" in said
    assert "suffices" in said
    assert main(["experiment", "plan", file, *OFFLINE, "--errors", "0.01", "--output", "json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["is_enough"], document["effect"]["errors"]) == (False, 0.0001)


def test_an_objective_of_another_tool(file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its target and window make the error budget; what cannot be read is told with its place."""
    slo = tmp_path / "slo.yaml"
    slo.write_text(SLO)
    main(["experiment", "plan", file, *OFFLINE, "--slo", str(slo)])
    assert "objective checkout: 99 % over 7 days" in capsys.readouterr().out
    main(["experiment", "plan", file, *OFFLINE, "--slo", str(slo), "--output", "json"])
    assert json.loads(capsys.readouterr().out)["budget"]["total"] == pytest.approx(0.01 * 200 * 7 * 86400)
    slo.write_text(SLO.replace("0.99", "99"))
    assert main(["experiment", "plan", file, *OFFLINE, "--slo", str(slo)]) == 1
    assert "slo.yaml:8:" in capsys.readouterr().err
    assert main(["experiment", "plan", file, *OFFLINE, "--slo", str(tmp_path / "missing")]) == 1


@pytest.mark.parametrize(
    "wrong", [["--errors", "0"], ["--errors", "nan"], ["--slower", "-5"], ["--error-rate", "101"], ["--p99", "-1"], ["--rate", "inf"]]
)
def test_numbers_that_make_no_sense(file: str, wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """They are refused, with a sentence."""
    assert main(["experiment", "plan", file, *OFFLINE, *wrong]) == 1
    assert capsys.readouterr().err


def test_a_plan_with_an_instance(command: Run, proxy: SupervisedProxy, file: str) -> None:
    """It is asked for its traffic, and what speaks against the experiment."""
    result = command("experiment", "plan", file)
    assert result.returncode == 1
    assert "nothing can be seen" in result.stdout
    assert "it may begin now" in result.stdout
    assert "nothing is known of past requests: none is remembered yet" in result.stdout
    served(proxy, 1)
    assert "over the last request (" in command("experiment", "plan", file).stdout
