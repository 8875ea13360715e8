"""`shadowproxy experiment report`: every format of every run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from shadowproxy.cli import client, main
from shadowproxy.cli.experiment_report import write
from shadowproxy.cli.report import FORMATS
from tests.report import experiment_samples as samples

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_takes_every_run(kind: str) -> None:
    """Also hostile words, and nothing at all."""
    for found in samples.ALL.values():
        assert write(samples.run(found), kind).encode()


class Known:
    """An admin API that knows one run."""

    def get(self, path: str) -> dict[str, Any]:
        """Its document."""
        assert path == "/api/v1/experiments/recommendations%2Fdown"
        return samples.upheld()


@pytest.mark.parametrize(("name", "begins"), [("r.html", "<!doctype html>"), ("r.md", "### "), ("r.json", "{"), ("r.xml", "<?xml")])
def test_the_name_of_the_file_says_the_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, begins: str
) -> None:
    """And without a file it goes to standard output."""
    monkeypatch.setattr(client, "connect", lambda _: Known())
    assert main.main(["experiment", "report", "recommendations/down", "--out", str(tmp_path / name)]) == 0
    assert capsys.readouterr().out == f"upheld: {tmp_path / name}\n"
    assert (tmp_path / name).read_text().startswith(begins)
    kind = {"r.html": "html", "r.md": "markdown", "r.json": "json", "r.xml": "junit"}[name]
    assert main.main(["experiment", "report", "recommendations/down", "--format", kind]) == 0
    assert capsys.readouterr().out.startswith(begins)


def test_a_file_that_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """In one line."""
    monkeypatch.setattr(client, "connect", lambda _: Known())
    assert main.main(["experiment", "report", "recommendations/down", "--out", str(tmp_path / "absent" / "r.html")]) == 1
    assert capsys.readouterr().err.count("\n") == 1
