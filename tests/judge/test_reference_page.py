"""The numbers in docs/statistics.md are what the code computes."""

from __future__ import annotations

import re
from math import exp
from pathlib import Path

import pytest

from shadowproxy.judge import betting, mcnemar, symmetry
from shadowproxy.judge.detectors import RUN_LENGTH, SHARES
from shadowproxy.judge.symmetry import LogRatio

PAGE = (Path(__file__).parents[2] / "docs" / "statistics.md").read_text()


def test_the_table_of_errors() -> None:
    """Each row of b, c and both e-values."""
    rows = re.findall(r"^\| (\d+) \| (\d+) \| ([\d.]+) \| ([\d.]+) \|$", PAGE, re.MULTILINE)
    assert len(rows) == 9
    for b, c, two_sided, one_sided in rows:
        assert exp(mcnemar.log_e_two_sided(int(b), int(c))) == pytest.approx(float(two_sided), abs=6e-5)
        assert exp(mcnemar.log_e_one_sided(int(b), int(c))) == pytest.approx(float(one_sided), abs=6e-5)


def test_the_table_of_latency() -> None:
    """Each row of sums, parameter, evidence, bound and ratio."""
    rows = re.findall(r"^\| (\d+), (\d+), (\d+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", PAGE, re.MULTILINE)
    assert len(rows) == 2
    for n, s1, s2, rho, log_e, bound, ratio in rows:
        sums = LogRatio(int(n), float(s1), float(s2))
        assert symmetry.log_e_above(sums, 0.0, float(rho)) == pytest.approx(float(log_e), abs=1e-6)
        assert symmetry.lower_bound(sums, 0.05, float(rho)) == pytest.approx(float(bound), abs=1e-7)
        assert exp(symmetry.lower_bound(sums, 0.05, float(rho))) == pytest.approx(float(ratio), abs=1e-6)


def test_the_parameters_that_it_names() -> None:
    """How many gamblers there are, what the boldest stakes, what the detector watches for."""
    assert f"capital of {len(betting.STAKES)} gamblers" in PAGE
    assert f"from {betting.TRUNCATION:.0%} down".replace("%", " %") in PAGE
    assert f"{betting._FIRST_SHARE:.0%} of the capital".replace("%", " %") in PAGE
    assert f"A = {RUN_LENGTH:,.0f}" in PAGE
    assert ", ".join(str(share) for share in SHARES[:-1]) + f" and {SHARES[-1]}" in PAGE
