"""`shadowproxy verdict`: sentence, document, exit code."""

from __future__ import annotations

import io
import json
import random
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from shadowproxy.cli import main, verdict
from shadowproxy.judge.conclusion import conclude
from shadowproxy.judge.criteria import Criteria
from shadowproxy.judge.evidence import MirrorEvidence
from shadowproxy.judge.verdict import Circumstances, Outcome, Previous, to_plain
from tests.cli.conftest import served
from tests.judge.ticks import World, matrix_tick
from tests.kit.answers import ok
from tests.kit.process import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Run
    from tests.kit import Origin, SupervisedProxy


def document(*outcomes: str) -> dict[str, Any]:
    """Verdicts, of which only the outcome matters."""
    return {"verdicts": [{"verdict": outcome} for outcome in outcomes]}


@pytest.mark.parametrize(
    ("outcomes", "worst", "code"),
    [
        (["SAFE"], Outcome.SAFE, 0),
        (["SAFE", "UNDECIDED"], Outcome.UNDECIDED, 98),
        (["REGRESSION", "SAFE", "UNDECIDED"], Outcome.REGRESSION, 99),
        (["REGRESSION", "INVALID", "SAFE"], Outcome.INVALID, 1),
        ([], Outcome.UNDECIDED, 98),
    ],
)
def test_the_worst_verdict_is_the_exit_code(outcomes: list[str], worst: Outcome, code: int) -> None:
    """Nothing at all is undecided: a gate must not open because a name was wrong."""
    assert verdict.worst(document(*outcomes)) is worst
    assert verdict.EXIT_CODES[worst] == code


class Answers:
    """An admin API that answers one document after the other."""

    def __init__(self, *documents: dict[str, Any]) -> None:
        self.documents = list(documents)

    def get(self, _: str) -> Any:
        """The next one; the last one for ever."""
        return self.documents.pop(0) if len(self.documents) > 1 else self.documents[0]


def test_waiting_ends_with_a_decision(monkeypatch: pytest.MonkeyPatch) -> None:
    """As soon as one mirror is bad or all are safe; else when the time is over."""
    monkeypatch.setattr(verdict, "LOOK_S", 0.001)
    answers: Any = Answers(document("UNDECIDED", "SAFE"), document("UNDECIDED", "SAFE"), document("SAFE", "SAFE"))
    assert verdict.worst(verdict.wait(answers, "", 60.0)) is Outcome.SAFE
    answers = Answers(document("UNDECIDED"), document("UNDECIDED", "REGRESSION"))
    assert verdict.worst(verdict.wait(answers, "", 60.0)) is Outcome.REGRESSION
    answers = Answers(document("UNDECIDED"))
    assert verdict.worst(verdict.wait(answers, "", 0.01)) is Outcome.UNDECIDED


def test_names_go_into_the_query() -> None:
    """Whatever they contain."""
    assert verdict.path_of(None) == "/api/v1/verdict"
    assert verdict.path_of("a b", "c/d") == "/api/v1/verdict?route=a+b&mirror=c%2Fd"


def test_people_read_sentences() -> None:
    """The summary, what it rests on, the builds and the verdict before; markup in names is text."""
    evidence = MirrorEvidence(Criteria())
    evidence.add(matrix_tick(**{"200,200": 90, "200,[red]504": 10}))
    previous = Previous(1, "SAFE", "all was well", 7, 1.6e9)
    here = Circumstances(
        "[b]all", "shadow", 1.7e9, epoch=2, revisions={"shadow": ("v1", "v2"), "live": ()}, previous=previous, pairs_per_second=12.0
    )
    out = io.StringIO()
    Console(file=out, width=500).print(verdict.render({"verdicts": [to_plain(conclude(evidence, here))]}))
    text = out.getvalue()
    for words in (
        "[b]all → shadow  REGRESSION  more errors than live: 200 -> [red]504 10 times",
        "compared with live: 100 pairs of 100 eligible requests (100 %), 12 per second",
        "builds: shadow v1, v2",
        "epoch 2; before it SAFE: all was well",
        "the evidence was enough after 100 pairs",
    ):
        assert words in text
    out = io.StringIO()
    Console(file=out).print(verdict.render({"verdicts": []}))
    assert "no route has a mirror" in out.getvalue()


@pytest.mark.parametrize("text", ["-1", "nan", "soon", "1e9"])
def test_patience_is_a_duration(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """From no time to a week."""
    with pytest.raises(SystemExit) as ended:
        main.main(["verdict", "--wait", text])
    assert ended.value.code == 2
    assert "--wait" in capsys.readouterr().err


def test_a_shadow_with_new_errors_is_a_regression(proxy: SupervisedProxy, shadow: Origin, command: Run) -> None:
    """End to end: the transition is named, the exit code is 99, and waiting ends at once."""
    for number in range(10):
        shadow.on(f"/{number}", ok(b"broken", status=504))
    served(proxy, 10)
    ended = command("verdict", "--wait", "60")
    assert ended.returncode == 99, ended.stdout + ended.stderr
    assert "all → shadow  REGRESSION  more errors than live: 200 -> 504" in ended.stdout
    found = json.loads(command("verdict", "--output", "json", "--route", "all", "--mirror", "shadow").stdout)["verdicts"][0]
    assert (found["verdict"], found["cause"], found["baseline"]) == ("REGRESSION", "errors", "live")
    assert found["errors"]["transitions"][0]["live"] == "200"
    assert found["errors"]["transitions"][0]["shadow"] == "504"


def test_identical_versions_are_no_regression(proxy: SupervisedProxy, command: Run) -> None:
    """End to end: a hundred requests to equal origins; undecided says what is missing, and the exit code is 98 (or 0, if it was that quick)."""
    served(proxy, 100)
    eventually(
        lambda: json.loads(command("verdict", "--output", "json").stdout)["verdicts"][0]["pairs"] == 100, "a hundred pairs", patience_s=60
    )
    ended = command("verdict")
    assert ended.returncode in {98, 0}, ended.stdout
    assert "compared with live: 100 pairs of 100 eligible requests" in ended.stdout


def test_anew_forgets_what_was_shown(proxy: SupervisedProxy, shadow: Origin, command: Run) -> None:
    """A REGRESSION is one until someone says that it was repaired; it stands beside the new evidence."""
    shadow.answer = ok(b"broken", status=504)
    served(proxy, 20)
    eventually(lambda: command("verdict").returncode == 99, "a regression", patience_s=60)
    ended = command("verdict", "--anew", "--mirror", "shadow")
    assert (ended.returncode, ended.stderr) == (98, "")
    assert "epoch 2; before it REGRESSION" in ended.stdout
    assert command("verdict", "--anew", "--mirror", "nobody").returncode == 1


def test_unknown_names_are_refused(proxy: SupervisedProxy, command: Run) -> None:
    """A gate that asks for a mirror that is not there fails, and says why."""
    ended = command("verdict", "--mirror", "nobody")
    assert (ended.returncode, ended.stderr) == (1, "shadowproxy: 404 Not Found: no mirror of that name on such a route\n")


def test_nobody_there_is_not_a_verdict(tmp_path: Path, command: Run) -> None:
    """Exit code 4, which is none of a verdict's."""
    assert command("verdict").returncode == 4


def test_help_says_what_the_codes_mean() -> None:
    """In `--help`, where a pipeline's author looks."""
    shown = subprocess.run([sys.executable, "-m", "shadowproxy", "verdict", "--help"], capture_output=True, text=True, check=True).stdout
    shown = " ".join(shown.split())
    for words in ("0 SAFE", "98 UNDECIDED", "99 REGRESSION", "1 INVALID", "--wait SECONDS"):
        assert words in shown


def test_a_safe_shadow_reads_as_such() -> None:
    """Green, with the claim."""
    evidence = MirrorEvidence(Criteria())
    world = World(random.Random(1), live_errors=0.0)
    for _ in range(12):
        evidence.add(world.tick(300))
    out = io.StringIO()
    Console(file=out, width=500).print(verdict.headline(to_plain(conclude(evidence, Circumstances("all", "shadow", 1.7e9)))))
    assert "all → shadow  SAFE  errors worse by less than 0.2 points" in out.getvalue()
