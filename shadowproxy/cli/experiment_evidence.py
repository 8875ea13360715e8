"""`shadowproxy experiment evidence` and `verify`: what an auditor gets of a run, as one ZIP file that proves itself.

    evidence.json     who, what, when, approved by whom, with which outcome
    run.json          the run document, whole
    journal.jsonl     the journal's entries of the run, as they are on the disk
    report.html       the report for people
    MANIFEST.sha256   SHA-256 of each of these, as `sha256sum --check` reads it

`verify` needs no instance. It holds the manifest against the files, each entry against its own hash and the entry before it, and
the outcome against the entries: the ticks in the journal must lead to it again. What a file cannot show by itself is that nobody
made the whole of it anew: `--head` compares the last entry's hash with one that was kept elsewhere (reports name it), and `--journal` the entries with the instance's whole journal.
"""

from __future__ import annotations

import hashlib
import json
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from shadowproxy import __version__
from shadowproxy.cli import client
from shadowproxy.cli.export import printable
from shadowproxy.config.experiment_file import experiment_from_plain
from shadowproxy.control.segments import Segments, Whole
from shadowproxy.errors import ConfigError, ControlError
from shadowproxy.experiments.journal import FIRST, BrokenJournal, Chain, Entry, read
from shadowproxy.experiments.replay import replay
from shadowproxy.report import experiment_html, numbers
from shadowproxy.report.experiment import Run, counts, objects, part
from shadowproxy.report.experiment_checks import checks
from shadowproxy.report.experiment_faults import faults, where

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

    from shadowproxy.cli.main import Subparsers

VERSION: Final = 1

MANIFEST: Final = "MANIFEST.sha256"
FILES: Final = ("evidence.json", "run.json", "journal.jsonl", "report.html")

PATH: Final = "/api/v1/experiments"

DURABLE_S: Final = 3.0
"""How long the end of a run may take to be on the disk."""

LOOK_S: Final = 0.2

MEMBER_LIMIT: Final = 4 * 1024 * 1024 * 1024
"""Bytes of one file inside: more than the journal of the longest run, and no bomb."""

LINE_LIMIT: Final = 16 * 1024 * 1024
"""Bytes of one entry."""


@dataclass(frozen=True, slots=True)
class Found:
    """One thing that was looked at: whether it holds, and what was found."""

    name: str
    is_good: bool
    sentence: str


def add_evidence(subparsers: Subparsers) -> None:
    """Add `evidence` and `verify`."""
    parser = subparsers.add_parser(
        "evidence",
        help="what an auditor gets of a run: one ZIP file that proves itself",
        description="Write who ran what, when, approved by whom and with which outcome, with the journal's entries, the report and a manifest.",
    )
    client.add_arguments(parser)
    parser.add_argument("id", metavar="ID", help="of the run; by a name its newest")
    parser.add_argument("--out", metavar="FILE.zip", required=True, help="where to write it")
    parser.set_defaults(run=evidence)
    parser = subparsers.add_parser(
        "verify",
        help="whether such a file is what was written, offline (exit 0 yes, 1 no)",
        description="Verify a file of `experiment evidence`: manifest, hash chain, and that the journal leads to the outcome.",
    )
    parser.add_argument("file", metavar="FILE.zip", help="what `experiment evidence` wrote")
    parser.add_argument("--head", metavar="HASH", default="", help="what the last entry's hash must be, as a report of that day names it")
    parser.add_argument(
        "--journal",
        metavar="FILE",
        help="the instance's journal (NAME.experiments.jsonl, with its older segments beside it), which the entries must be in",
    )
    parser.add_argument("--output", choices=("text", "json"), default="text", help="how to print the result")
    parser.set_defaults(run=verify)


def evidence(arguments: argparse.Namespace) -> int:
    """Write the file, and verify it: 1 when it does not hold.

    Raises:
        AdminUnreachable: no instance answers.
        AdminRefused: there is no such run.
        ControlError: the run is not over, or the file cannot be written.
    """
    admin, out = client.connect(arguments), Path(arguments.out)
    deadline = time.monotonic() + DURABLE_S
    while True:
        run = Run(admin.get(f"{PATH}/{quote(arguments.id, safe='')}"), time.time(), f"shadowproxy {__version__}")
        if not run.is_over:
            raise ControlError(f"{run.id} is not over ({run.state}): there is no outcome to show yet")
        try:
            pack(out, run, admin.lines(f"{PATH}/{quote(run.id, safe='')}/journal"))
            wrong = [one for one in examine(out) if not one.is_good]
        except OSError as error:
            raise ControlError(f"{arguments.out}: {error.strerror}") from None
        if not wrong or time.monotonic() > deadline:
            break
        time.sleep(LOOK_S)  # the last entries of a run that has just ended are still on their way to the disk
    _tell(arguments, run, wrong)
    return 1 if wrong else 0


def _tell(arguments: argparse.Namespace, run: Run, wrong: list[Found]) -> None:
    if arguments.output == "json":
        problems = [f"{one.name}: {one.sentence}" for one in wrong]
        summary = {"file": arguments.out, "id": run.id, "outcome": str(run.state), "verdict": str(run.verdict), "head": _head(run)}
        print(json.dumps({**summary, "is_good": not wrong, "problems": problems}, indent=2))
        return
    print(printable(f"{arguments.out}: {run.id}, {run.state}, {run.verdict}, head {_head(run)}"))
    for one in wrong:
        print(printable(f"BAD {one.name}: {one.sentence}"))


def verify(arguments: argparse.Namespace) -> int:
    """Say whether the file is what was written: 0 when all holds, else 1.

    Raises:
        ControlError: the file, or the journal, cannot be read.
    """
    try:
        found = list(examine(Path(arguments.file), head=arguments.head))
        if arguments.journal:
            found.append(in_journal(Path(arguments.file), Path(arguments.journal)))
    except OSError as error:
        raise ControlError(f"{error.filename or arguments.file}: {error.strerror or error}") from None
    except zipfile.BadZipFile as error:
        raise ControlError(f"{arguments.file}: {error}") from None
    is_good = all(one.is_good for one in found)
    if arguments.output == "json":
        listed = [{"name": one.name, "is_good": one.is_good, "sentence": one.sentence} for one in found]
        print(json.dumps({"file": arguments.file, "is_good": is_good, "checks": listed}, indent=2))
    else:
        for one in found:
            print(printable(f"{'ok ' if one.is_good else 'BAD'} {one.name}: {one.sentence}"))
    return 0 if is_good else 1


def pack(path: Path, run: Run, lines: Iterable[bytes]) -> None:
    """Write the file at `path`.

    Args:
        path: an existing file is replaced once the new one is whole.
        run: what ended.
        lines: the journal's, of this run.

    Raises:
        OSError: it cannot be written.
    """
    texts = {
        "evidence.json": json.dumps(answers(run), indent=2).encode() + b"\n",
        "run.json": json.dumps(run.document, indent=1).encode() + b"\n",
        "report.html": experiment_html.page(run).encode(),
    }
    moment = time.gmtime(run.made_at)
    digests: dict[str, str] = {}
    partial = path.with_name(f".{path.name}.part")
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as file:
            for name in FILES:
                parts = (line + b"\n" for line in lines) if name == "journal.jsonl" else iter((texts[name],))
                digests[name] = _store(file, name, parts, moment)
            manifest = "".join(f"{digest}  {name}\n" for name, digest in digests.items()).encode()
            _store(file, MANIFEST, iter((manifest,)), moment)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def answers(run: Run) -> dict[str, Any]:
    """What an auditor asks, in one document."""
    document = run.document
    return {
        "format": "shadowproxy-experiment-evidence",
        "version": VERSION,
        "made_at": numbers.rfc3339(run.made_at),
        "program": run.program,
        "run": run.id,
        "who": {"owner": run.word("owner"), "submitted_by": run.word("submitted_by"), "approved_by": run.word("approved_by")},
        "what": {"hypothesis": run.hypothesis, "faults": faults(run.experiment), "where": dict(where(run.experiment)), "is_dry": bool(document.get("is_dry"))},
        "when": {name: _time(document.get(name)) for name in ("created", "started", "ended")},
        "overridden": {
            "reason": run.word("force"),
            "objections": [str(one.get("sentence", "")) for one in objects(document.get("admission")) if one.get("is_overridden")],
        },
        "outcome": {
            "state": str(run.state), "code": run.word("code"), "reason": run.word("reason"), "verdict": str(run.verdict), "sentence": run.sentence,
            "checks": [{"of": str(one.of), "name": one.name, "state": str(one.state)} for one in checks(run)],
        },
        "affected": {"units": document.get("units"), "requests": document.get("seen"), "faults": dict(counts(document.get("faults")))},
        "journal": part(document, "journal"),
    }  # fmt: skip


def examine(path: Path, *, head: str = "") -> Iterator[Found]:
    """Look at everything that the file can prove by itself.

    Args:
        path: of the file.
        head: what the last entry's hash must be; empty for what the run document says.

    Raises:
        OSError: it cannot be read.
        zipfile.BadZipFile: it is no ZIP file, or a broken one.
    """
    with zipfile.ZipFile(path) as file:
        manifest = _manifest(file)
        yield manifest
        if not manifest.is_good and set(FILES) - set(file.namelist()):
            return
        document = _object(file, "run.json")
        run = Run(document, 0.0, "")
        chain = Chain()
        journal = _chain(_lines(file), run.id, chain)
        yield journal
        last = chain.head
        wanted = head or _head(run)
        yield Found("head", last == wanted, f"the last entry is {last}" + ("" if last == wanted else f", not {wanted}"))
        yield _outcome(document, _lines(file)) if journal.is_good else Found("outcome", False, "it rests on a journal that does not hold")


def in_journal(path: Path, journal: Path) -> Found:
    """Whether every entry of the file is in a whole journal, whose chain is verified over all its segments, from the oldest that is kept on.

    Raises:
        OSError: one of them cannot be read.
        StateError: a segment in the middle is missing.
        zipfile.BadZipFile: the first is no ZIP file.
    """
    with zipfile.ZipFile(path) as file:
        missing = {_mark(line) for line in _lines(file)}
    count, oldest, chain = len(missing), 0, Chain()
    for segment in Segments(journal).opened():
        try:
            for entry in read(_struck(missing, Whole(segment)), chain):
                oldest = oldest or entry.seq
        except BrokenJournal as error:
            return Found("whole journal", False, f"{Path(segment.name).name} is broken at {error}")
    since = "" if oldest <= 1 else f" from entry {oldest} on, where what is kept of it begins"
    if missing:
        return Found("whole journal", False, f"{len(missing)} of {count} entries are not in it{since}")
    return Found("whole journal", True, f"all {count} entries are in it, and its chain holds{since}")


def _struck(missing: set[bytes], lines: Iterable[bytes]) -> Iterator[bytes]:
    """These lines, each struck off what is missing."""
    for line in lines:
        missing.discard(_mark(line))
        yield line


def _manifest(file: zipfile.ZipFile) -> Found:
    try:
        stated = dict(line.split("  ", 1)[::-1] for line in file.read(MANIFEST).decode().splitlines())
    except (KeyError, ValueError) as error:
        return Found("manifest", False, f"it cannot be read: {error}")
    names = file.namelist()
    wrong = sorted(set(names) ^ {*stated, MANIFEST}) + sorted(name for name in set(names) if names.count(name) > 1)
    wrong += [name for name in FILES if name not in stated and name not in wrong]
    wrong += [name for name in FILES if name in stated and name in names and _digest(file, name) != stated[name]]
    return Found(
        "manifest", not wrong, f"these are not as it says: {', '.join(wrong)}" if wrong else f"all {len(stated)} files are as it says"
    )


def _mark(line: bytes) -> bytes:
    """What stands for an entry where millions are compared."""
    return hashlib.blake2b(line.rstrip(b"\n"), digest_size=16).digest()


def _chain(lines: Iterable[bytes], run: str, chain: Chain) -> Found:
    """Each entry against its own hash, its number within the run, and the entry before it where that is of this run, too.

    Args:
        lines: of the journal.
        run: whose they must be.
        chain: a new one; it ends with the last entry that is good.
    """
    count = linked = 0
    for count, line in enumerate(lines, start=1):
        before = chain.seq
        try:
            entry = _next(chain, line.rstrip(b"\n"), run, is_first=count == 1)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            where = f"entry {before}" if count > 1 else "the beginning"
            return Found("journal", False, f"line {count}, after {where}: {error}")
        linked += count > 1 and entry.seq == before + 1
    if not count:
        return Found("journal", False, "there is no entry")
    said = f"{count} entries are as they were written"
    return Found("journal", True, f"{said}; {linked} follow directly from the one before, between the others are entries of other runs")


def _next(chain: Chain, text: bytes, run: str, *, is_first: bool) -> Entry:
    """The next entry of the run. Where entries of other runs lie between, which are not here, the chain goes on behind them.

    Raises:
        ValueError: it is not what was written.
    """
    stated = json.loads(text)
    seq, prev = int(stated["seq"]), str(stated["prev"])
    if not is_first and seq <= chain.seq:
        raise ValueError("is out of order")
    if is_first or seq != chain.seq + 1:
        chain.seq, chain.head = seq - 1, prev
    entry = chain.read(text)
    if entry.run != run:
        raise ValueError(f"is of another run, {entry.run}")
    return entry


def _outcome(document: dict[str, Any], lines: Iterable[bytes]) -> Found:
    """Whether the ticks of the journal, which is known to hold, lead to the outcome that the document states."""
    ends: list[dict[str, Any]] = []

    def entries() -> Iterator[dict[str, Any]]:
        for line in lines:
            entry = json.loads(line)
            if entry["kind"] == "ended":
                ends.append(entry["body"])
            yield entry

    try:
        found = json.loads(json.dumps(replay(experiment_from_plain(part(document, "experiment")), entries())))
    except (ConfigError, LookupError, TypeError, ValueError) as error:
        return Found("outcome", False, f"the journal cannot be played again: {error}")
    if not ends:
        return Found("outcome", False, "the journal has no end of the run")
    state = ends[-1].get("state")
    if state != document.get("state"):
        return Found("outcome", False, f"the journal says {state}, the document {document.get('state')}")
    if _had_no_conclusion(ends[-1]) and not document.get("result"):
        return Found(
            "outcome", True, f"the proxy ended before it could conclude; the journal leads to: {found['verdict']}, {found['sentence']}"
        )
    if found != document.get("result"):
        return Found("outcome", False, f"the journal leads to another result: {found.get('verdict')}, {found.get('sentence')}")
    return Found("outcome", True, f"the journal leads to the same result again: {found['verdict']}")


def _had_no_conclusion(end: dict[str, Any]) -> bool:
    """Whether a later process closed the run: what the first had concluded died with it."""
    return end.get("code") == "restart" and not part(end, "document").get("result")


def _store(file: zipfile.ZipFile, name: str, parts: Iterator[bytes], moment: time.struct_time) -> str:
    """Put a file in, and return its digest."""
    when = (max(1980, moment.tm_year), moment.tm_mon, moment.tm_mday, moment.tm_hour, moment.tm_min, moment.tm_sec)
    entry = zipfile.ZipInfo(name, when)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    digest = hashlib.sha256()
    with file.open(entry, "w", force_zip64=True) as out:
        for one in parts:
            digest.update(one)
            out.write(one)
    return digest.hexdigest()


def _digest(file: zipfile.ZipFile, name: str) -> str:
    digest = hashlib.sha256()
    for line in _lines(file, name):
        digest.update(line)
    return digest.hexdigest()


def _lines(file: zipfile.ZipFile, name: str = "journal.jsonl") -> Iterator[bytes]:
    """The lines of a file inside, with their newlines; bounded, whatever the file claims to be."""
    if file.getinfo(name).file_size > MEMBER_LIMIT:
        raise zipfile.BadZipFile(f"{name} is too large")
    with file.open(name) as opened:
        while line := opened.readline(LINE_LIMIT):
            yield line


def _object(file: zipfile.ZipFile, name: str) -> dict[str, Any]:
    try:
        found = json.loads(file.read(name))
    except (ValueError, KeyError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _head(run: Run) -> str:
    return str(part(run.document, "journal").get("head") or FIRST)


def _time(value: object) -> str | None:
    return numbers.rfc3339(float(value)) if isinstance(value, (int, float)) else None
