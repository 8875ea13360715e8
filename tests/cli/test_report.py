"""`shadowproxy report`, against a running proxy."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import jsonschema
import pytest

from shadowproxy.cli import report
from shadowproxy.report import plain
from tests.cli.conftest import served
from tests.kit import Client
from tests.kit.answers import ok
from tests.kit.process import eventually
from tests.report import samples

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Run
    from tests.kit import Origin, SupervisedProxy


def paired(proxy: SupervisedProxy, count: int) -> None:
    """Serve requests until their pairs are counted."""
    served(proxy, count)
    eventually(lambda: proxy.api("GET", "/api/v1/verdict").json()["verdicts"][0]["pairs"] >= count, f"{count} pairs", patience_s=60)


def test_every_format_can_be_written(proxy: SupervisedProxy, command: Run, tmp_path: Path) -> None:
    """To a file, whose name says which it is, or to standard output."""
    paired(proxy, 40)
    written = {name: tmp_path / f"report{suffix}" for suffix, name in report.SUFFIXES.items() if suffix != ".htm"}
    for file in written.values():
        ended = command("report", "--out", str(file))
        assert (ended.returncode, ended.stdout) == (0, f"UNDECIDED: {file}\n"), ended.stderr
    page = written["html"].read_text()
    assert "answers of live, 40 of the shadow" in page
    assert page.count("<svg") >= 4
    assert "### " in written["markdown"].read_text()
    document = json.loads(written["json"].read_text())
    jsonschema.Draft202012Validator(plain.SCHEMA).validate(document)
    assert [one["route"] for one in document["mirrors"]] == ["all"]
    assert document["config"]["routes"][0]["mirror"][0]["to"] == "shadow"
    assert ET.fromstring(written["junit"].read_text()).find("testsuite/testcase") is not None
    assert command("report").stdout.startswith("<!doctype html>")
    assert json.loads(command("report", "--output", "json").stdout)["format"] == "shadowproxy-report"
    assert "<failure" in command("report", "--format", "junit", "--undecided", "failed").stdout


def test_examples_are_on_the_page_and_can_be_left_out(proxy: SupervisedProxy, shadow: Origin, command: Run) -> None:
    """A pair that went wrong is shown with both answers, without what is secret."""
    shadow.answer = ok(b"it broke", status=500)
    with Client(proxy.address("front")) as client:

        def is_kept() -> bool:
            assert client.get("/basket/17?token=s3cret-token", ("Authorization", "Bearer s3cret-bearer")).status == 200
            return bool(proxy.api("GET", "/api/v1/exemplars").json()["exemplars"])

        eventually(is_kept, "a discordant pair is kept", patience_s=60)
    page = command("report").stdout
    for words in ("GET /basket/17?token=", "Kept for: transition 200 -&gt; 500", "it broke"):
        assert words in page
    assert "s3cret" not in page
    assert "it broke" not in command("report", "--examples", "0").stdout


def test_a_route_can_be_chosen(proxy: SupervisedProxy, command: Run) -> None:
    """One that exists, and one that does not."""
    assert "all/shadow" in command("report", "--route", "all", "--format", "markdown").stdout.replace("\\", "")
    ended = command("report", "--route", "no such/route?")
    assert ended.returncode == 1
    assert "404" in ended.stderr


def test_a_file_that_cannot_be_written_is_said(proxy: SupervisedProxy, command: Run, tmp_path: Path) -> None:
    """In one line."""
    ended = command("report", "--out", str(tmp_path / "nowhere" / "report.html"))
    assert ended.returncode == 1
    assert ended.stderr.startswith("shadowproxy: ")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("kind", report.FORMATS)
def test_every_format_takes_every_verdict(kind: str) -> None:
    """Also hostile words, and nothing at all."""
    for verdicts in ((), (samples.verdict(), samples.empty()), (samples.hostile(),)):
        assert report.write(samples.report(*verdicts), kind).encode()
