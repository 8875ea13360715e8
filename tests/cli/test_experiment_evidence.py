"""Evidence of a run: packed, verified offline, and every change to it found."""

from __future__ import annotations

import hashlib
import json
import subprocess
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from shadowproxy.cli import client, experiment_evidence, main
from shadowproxy.cli.experiment_evidence import FILES, MANIFEST, examine, in_journal, pack
from shadowproxy.config.experiment_file import experiment_to_plain
from shadowproxy.experiments.conductor import Conductor
from shadowproxy.experiments.journal import Chain, alone, canonical
from shadowproxy.report.experiment import Run
from tests.experiments.test_replay import EXPERIMENT, STEADY, a_journal
from tests.report.samples import NOW

if TYPE_CHECKING:
    from pathlib import Path

RUN = "cart-1"


def a_run() -> tuple[Run, list[bytes], list[bytes]]:
    """A run that has ended, its lines, and the whole journal, in which another run's entries lie between."""
    conductor = Conductor(EXPERIMENT, error_budget=None, steady=STEADY)
    plain = experiment_to_plain(EXPERIMENT)
    chain, lines, whole = Chain(), [], []

    def write(run: str, kind: str, body: dict[str, Any]) -> None:
        line = chain.write(NOW + chain.seq, run, kind, canonical(body))
        whole.append(line)
        if run == RUN:
            lines.append(line)

    write("", "opened", {})
    write(RUN, "admitted", {"experiment": plain})
    write(RUN, "armed", {"error_budget": None, "steady": STEADY})
    for at, tick in enumerate(a_journal(4, 30)):
        write(RUN, "tick", tick.to_plain())
        if at % 7 == 0:
            write("other-2", "tick", {})
        if conductor.tick(tick).action == "end":
            break
    result = json.loads(json.dumps(conductor.document()))
    write(RUN, "ended", {"state": "aborted", "code": "guard_p99", "reason": "", "document": {"result": result}})
    document = {
        "id": RUN, "name": "cart", "owner": "shop", "state": "aborted", "submitted_by": "token 1", "approved_by": "j.doe", "experiment": plain, "result": result,
        "started": NOW, "ended": NOW + 30, "journal": {"entries": len(lines), "head": chain.head}, "units": 3, "seen": 9, "faults": {"delay": 9},
        "admission": [{"code": "blockout", "sentence": "It is Friday.", "is_overridden": True}], "force": "drill",
    }  # fmt: skip
    write("other-2", "tick", {})
    return Run(document, NOW + 60, "shadowproxy 0.1.0"), lines, whole


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """Evidence that is good."""
    run, lines, _ = a_run()
    pack(tmp_path / "e.zip", run, lines)
    return tmp_path / "e.zip"


def changed(path: Path, name: str, text: bytes | None, *, mend: bool = True) -> Path:
    """The same with one file replaced or left out; `mend`: with a manifest that says so, as a forger would."""
    with zipfile.ZipFile(path) as file:
        parts = {one: file.read(one) for one in file.namelist()}
    parts.pop(name)
    if text is not None:
        parts[name] = text
    if mend and name != MANIFEST:
        parts[MANIFEST] = "".join(f"{hashlib.sha256(parts[one]).hexdigest()}  {one}\n" for one in FILES if one in parts).encode()
    out = path.with_name("changed.zip")
    with zipfile.ZipFile(out, "w") as file:
        for one, content in parts.items():
            file.writestr(one, content)
    return out


def bad(path: Path, **options: str) -> dict[str, str]:
    """What does not hold, by name."""
    return {one.name: one.sentence for one in examine(path, **options) if not one.is_good}


def test_evidence_answers_an_auditors_questions(packed: Path, tmp_path: Path) -> None:
    """Who, what, when, approved by, outcome; and the manifest is one that sha256sum reads."""
    with zipfile.ZipFile(packed) as file:
        found = json.loads(file.read("evidence.json"))
        file.extractall(tmp_path / "out")
    assert found["who"] == {"owner": "shop", "submitted_by": "token 1", "approved_by": "j.doe"}
    assert found["overridden"] == {"reason": "drill", "objections": ["It is Friday."]}
    assert found["outcome"]["state"] == "aborted"
    assert found["when"]["ended"] == "2026-09-21T14:13:50Z"
    assert found["affected"] == {"units": 3, "requests": 9, "faults": {"delay": 9}}
    assert subprocess.run(["sha256sum", "--check", "--strict", "--quiet", MANIFEST], cwd=tmp_path / "out", check=False).returncode == 0
    assert bad(packed) == {}


def test_it_is_the_same_file_each_time(packed: Path, tmp_path: Path) -> None:
    """Two exports at one moment are the same bytes."""
    run, lines, _ = a_run()
    pack(tmp_path / "again.zip", run, lines)
    assert (tmp_path / "again.zip").read_bytes() == packed.read_bytes()


@pytest.mark.parametrize("name", FILES)
def test_any_change_is_seen_in_the_manifest(packed: Path, name: str) -> None:
    """A file that differs, or is missing."""
    assert name in bad(changed(packed, name, b"{}\n", mend=False))["manifest"]
    assert name in bad(changed(packed, name, None, mend=False))["manifest"]


def test_a_changed_entry_is_named(packed: Path) -> None:
    """Even when the manifest was mended: the first broken entry, by line and number."""
    _, lines, _ = a_run()
    lines[5] = lines[5].replace(b'"seconds":', b'"seconds": ', 1)
    text = b"".join(line + b"\n" for line in lines)
    found = bad(changed(packed, "journal.jsonl", text))
    assert found["journal"].startswith("line 6, after entry ")
    assert "was changed after it was written" in found["journal"]


@pytest.mark.parametrize("how", ["left out", "doubled", "swapped", "cut off", "of another run", "rubbish", "empty"])
def test_entries_cannot_be_rearranged(packed: Path, how: str) -> None:
    """A run's own entries have no gaps and one order; what is missing at the end shows in the head."""
    _, lines, whole = a_run()
    if how == "left out":
        del lines[4]
    elif how == "doubled":
        lines.insert(4, lines[4])
    elif how == "swapped":
        lines[4], lines[5] = lines[5], lines[4]
    elif how == "cut off":
        del lines[-1]
    elif how == "of another run":
        lines = whole
    elif how == "rubbish":
        lines[3] = b"\xff{"
    else:
        lines = []
    found = bad(changed(packed, "journal.jsonl", b"".join(line + b"\n" for line in lines)))
    assert set(found) & ({"head", "outcome"} if how == "cut off" else {"journal"})


def test_a_prettier_outcome_does_not_follow(packed: Path) -> None:
    """A run document with another verdict, or another state, is not what the journal leads to."""
    run, _, _ = a_run()
    better = run.document | {"result": run.result | {"verdict": "upheld"}}
    assert "leads to another result" in bad(changed(packed, "run.json", json.dumps(better).encode()))["outcome"]
    assert (
        "the journal says aborted"
        in bad(changed(packed, "run.json", json.dumps(run.document | {"state": "completed"}).encode()))["outcome"]
    )
    assert "outcome" in bad(changed(packed, "run.json", b"[]"))


def test_a_file_that_was_made_anew_is_seen_by_its_head(packed: Path) -> None:
    """Against a hash that was kept elsewhere."""
    run, _, _ = a_run()
    assert bad(packed, head=run.document["journal"]["head"]) == {}
    assert set(bad(packed, head="0" * 64)) == {"head"}


def test_a_run_that_a_later_process_closed(packed: Path) -> None:
    """It was given no result: the entries say what it leads to. One that says so of a run with another end is forged."""
    run, lines, _ = a_run()
    chain, closed = Chain(), []
    for entry in map(alone, lines):
        body = {"state": "aborted", "code": "restart", "document": {}} if entry.kind == "ended" else entry.body
        closed.append(chain.write(entry.time, RUN, entry.kind, canonical(body)))
    document = run.document | {"result": {}, "journal": {"entries": len(closed), "head": chain.head}}
    pack(packed, Run(document, NOW, ""), closed)
    assert bad(packed) == {}
    pack(packed, Run(run.document | {"result": {}}, NOW, ""), lines)
    assert set(bad(packed)) == {"outcome"}


def test_against_the_whole_journal(packed: Path, tmp_path: Path) -> None:
    """Entries are looked for in it, and its own chain is verified."""
    _, _, whole = a_run()
    journal = tmp_path / "j.jsonl"
    journal.write_bytes(b"".join(line + b"\n" for line in whole))
    assert in_journal(packed, journal).is_good
    journal.write_bytes(b"".join(line + b"\n" for line in whole[:5]))
    assert "are not in it" in in_journal(packed, journal).sentence
    journal.write_bytes(b"".join(line + b"\n" for line in whole[1:]))
    assert "broken at line 1" in in_journal(packed, journal).sentence


def test_against_a_journal_of_segments(packed: Path, tmp_path: Path) -> None:
    """The path of the present one is enough; where the oldest are gone, it says from where on the chain holds."""
    _, _, whole = a_run()
    chain, names = Chain(), ["j.000002.jsonl", "j.000003.jsonl", "j.jsonl"]
    before = [chain.write(1.0, "gone-1", "tick", "{}") for _ in range(6)]
    (tmp_path / "j.000001.jsonl").write_bytes(b"".join(line + b"\n" for line in before))
    for number, name in enumerate(names):
        part = map(alone, whole[number * 10 : number * 10 + 10 if number < 2 else None])
        header = chain.write_header(1.0, number + 2, {}, {})
        lines = [header, *(chain.write(entry.time, entry.run, entry.kind, canonical(entry.body)) for entry in part)]
        (tmp_path / name).write_bytes(b"".join(line + b"\n" for line in lines))
    journal = tmp_path / "j.jsonl"
    ours = [line for name in names for line in (tmp_path / name).read_bytes().splitlines() if alone(line).run == RUN]
    run, _, _ = a_run()
    pack(packed, run, ours)
    assert in_journal(packed, journal).sentence == f"all {len(ours)} entries are in it, and its chain holds"
    (tmp_path / "j.000001.jsonl").unlink()
    assert in_journal(packed, journal).sentence.endswith("its chain holds from entry 7 on, where what is kept of it begins")
    (tmp_path / "j.000003.jsonl").write_bytes(b"x\n")
    assert "j.000003.jsonl is broken at line 1" in in_journal(packed, journal).sentence
    (tmp_path / "j.000003.jsonl").unlink()
    assert exit_code_of(packed, journal) == 1


def exit_code_of(packed: Path, journal: Path) -> int:
    """The exit code of the command."""
    return main.main(["experiment", "verify", str(packed), "--journal", str(journal)])


class Known:
    """An admin API whose journal lags behind at first."""

    def __init__(self, late: int) -> None:
        self.late = late
        self.run, self.journal, _ = a_run()

    def get(self, _: str) -> dict[str, Any]:
        """The run."""
        return self.run.document

    def lines(self, _: str) -> list[bytes]:
        """Its entries, the last too late for some time."""
        self.late -= 1
        return self.journal[:-1] if self.late >= 0 else self.journal


def test_a_file_is_verified_when_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The end of a run may take a moment to be on the disk; what does not hold is written, said, and exit 1."""
    out = tmp_path / "e.zip"
    for late, code in ((0, 0), (2, 0), (10**6, 1)):
        monkeypatch.setattr(experiment_evidence, "DURABLE_S", 0.5 if code else 30.0)
        monkeypatch.setattr(client, "connect", lambda _, late=late: Known(late))
        assert main.main(["experiment", "evidence", RUN, "--out", str(out)]) == code
        assert ("BAD head" in capsys.readouterr().out) == bool(code)
    assert out.exists()
    assert list(tmp_path.iterdir()) == [out]


def test_a_run_that_is_not_over_has_no_evidence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """There is no outcome."""
    known = Known(0)
    known.run.document["state"] = "running"
    monkeypatch.setattr(client, "connect", lambda _: known)
    assert main.main(["experiment", "evidence", RUN, "--out", str(tmp_path / "e.zip")]) == 1
    assert "is not over (running)" in capsys.readouterr().err


def test_the_command_says_and_exits(packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """0 when all holds, 1 when not, 1 and a sentence for what is no such file; in both forms."""
    assert main.main(["experiment", "verify", str(packed)]) == 0
    assert [line[:3] for line in capsys.readouterr().out.splitlines()] == ["ok "] * 4
    assert main.main(["experiment", "verify", str(changed(packed, "run.json", b"{}")), "--output", "json"]) == 1
    assert json.loads(capsys.readouterr().out)["is_good"] is False
    for path in (tmp_path / "absent.zip", tmp_path / "text.zip"):
        (tmp_path / "text.zip").write_text("no zip")
        assert main.main(["experiment", "verify", str(path)]) == 1
        assert capsys.readouterr().err.startswith("shadowproxy: ")
