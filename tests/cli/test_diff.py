"""`shadowproxy diff`: what is listed, shown and exported, and that captured bytes cannot move the cursor."""

from __future__ import annotations

import base64
import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from shadowproxy.cli import client, main
from shadowproxy.cli.diff import DIFF_LINES, body_lines, difference, render, render_list
from shadowproxy.control.exemplars import Exemplars
from shadowproxy.errors import AdminRefused
from tests.control.test_exemplars import NoStore, capture

if TYPE_CHECKING:
    from tests.cli.conftest import Run
    from tests.kit import SupervisedProxy


class Admin:
    """An admin API that shows what was offered to it."""

    def __init__(self) -> None:
        self.kept = Exemplars(NoStore())
        self.asked: list[str] = []

    def get(self, path: str) -> Any:
        """The list, or one exemplar."""
        self.asked.append(path)
        _, _, name = path.partition("/exemplars/")
        if not name:
            return {"exemplars": self.kept.find(), "kept": len(self.kept), "held_bytes": self.kept.held_bytes}
        document = self.kept.get(name)
        if document is None:
            raise AdminRefused(404, "Not Found", "no exemplar of that id")
        return document


@pytest.fixture
def admin(monkeypatch: pytest.MonkeyPatch) -> Admin:
    """What commands find."""
    found = Admin()
    monkeypatch.setattr(client, "connect", lambda _: found)
    monkeypatch.setenv("COLUMNS", "200")
    return found


def text_of(renderable: Any) -> str:
    """As it is printed."""
    out = io.StringIO()
    Console(file=out, width=200).print(renderable)
    return out.getvalue()


def test_list_shows_each_with_its_reasons(admin: Admin, capsys: pytest.CaptureFixture[str]) -> None:
    """The worst first, in words."""
    admin.kept.offer(capture("slow", shadow_ns=4_100_000))
    name = admin.kept.offer(capture("broken", shadow="504"), [{"path": "$.total", "kind": "value"}])
    assert main.main(["diff", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1:4] for line in lines[1:]] == [["all/shadow", "GET", "/broken"], ["all/shadow", "GET", "/slow"]]
    assert str(name) in lines[1]
    assert "outcome 200 -> 504; $.total differs (value)" in lines[1]
    assert "shadow took 4.10 times as long" in lines[2]


def test_filters_are_passed_on(admin: Admin) -> None:
    """Escaped, and only those that were given."""
    main.main(["diff", "list", "--route", "a b", "--transition", "200->504", "--field", "$.x&y", "--limit", "3", "--mirror", "m/n"])
    assert admin.asked == ["/api/v1/exemplars?route=a%20b&mirror=m%2Fn&transition=200-%3E504&field=%24.x%26y&limit=3"]


def test_an_empty_list_says_why(admin: Admin) -> None:
    """Nothing kept, or nothing that fits."""
    assert "no discordant pair is kept" in text_of(render_list({"exemplars": [], "kept": 0}))
    assert "none of the pairs that are kept fits" in text_of(render_list({"exemplars": [], "kept": 3}))


def test_show_has_both_answers_and_what_differs(admin: Admin, capsys: pytest.CaptureFixture[str]) -> None:
    """Request, why, times, and a difference of the answers with JSON indented."""
    given = capture("a", shadow="500", body=b'{"a": 1, "b": [2]}')
    given["shadow"]["body"] = base64.b64encode(b'{"a": 1, "b": [3]}').decode()
    name = str(admin.kept.offer(given))
    assert main.main(["diff", "show", name]) == 0
    out = capsys.readouterr().out
    for words in ("GET /a", "Host: h", "- outcome 200 -> 500", "-200", "+500", '   "b": [', "-    2", "+    3", "trace abab", "1.00 ms"):
        assert words in out


def test_json_is_the_document_of_the_api(admin: Admin, capsys: pytest.CaptureFixture[str]) -> None:
    """For list, show and export."""
    name = str(admin.kept.offer(capture("a", shadow="500")))
    main.main(["diff", "list", "--output", "json"])
    assert json.loads(capsys.readouterr().out)["exemplars"][0]["id"] == name
    main.main(["diff", "show", name, "--output", "json"])
    assert json.loads(capsys.readouterr().out) == admin.kept.get(name)
    main.main(["diff", "export", name, "--as", "pytest", "--output", "json"])
    exported = json.loads(capsys.readouterr().out)
    main.main(["diff", "export", name, "--as", "pytest"])
    assert exported == {"id": name, "as": "pytest", "text": capsys.readouterr().out}


def test_export_writes_curl_unless_told_otherwise(admin: Admin, capsys: pytest.CaptureFixture[str]) -> None:
    """And one of three at all."""
    name = str(admin.kept.offer(capture("a", shadow="500")))
    assert main.main(["diff", "export", name]) == 0
    assert "curl " in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main.main(["diff", "export", name, "--as", "wget"])
    assert ended.value.code == 2


def test_an_unknown_id_is_one_line(admin: Admin, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 1."""
    assert main.main(["diff", "show", "no/such"]) == 1
    assert capsys.readouterr().err == "shadowproxy: 404 Not Found: no exemplar of that id\n"
    assert admin.asked == ["/api/v1/exemplars/no%2Fsuch"]


def test_captured_bytes_are_text() -> None:
    """Escape sequences, markup and line ends in what was captured are shown and not obeyed."""
    kept = Exemplars(NoStore())
    evil = "\x1b[2J[red]\r\n"
    given = capture("a", shadow="500", mirror=f"{evil}/m", body=b"\x1b]0;title\x07[bold]x")
    given["request"] |= {"target": evil, "headers": [[evil, evil]]}
    name = str(kept.offer(given))
    for text in (text_of(render(kept.get(name) or {})), text_of(render_list({"exemplars": kept.find(), "kept": 1}))):
        assert "\x1b" not in text
        assert "\\x1b[2J[red]" in text


def test_bodies_that_were_not_kept_or_cut_say_so() -> None:
    """Nothing looks whole that is not."""
    dropped = {"body": "", "cut": False, "dropped": {"reason": "not UTF-8", "bytes": 7, "digest": "ab"}}
    assert body_lines(dropped) == ["[body of 7 bytes not kept: not UTF-8; digest ab]"]
    assert body_lines({"body": base64.b64encode(b"one\ntwo").decode(), "cut": True}) == ["one", "two", "[cut here]"]
    assert body_lines({"body": "", "cut": True}) == []
    assert body_lines({"body": base64.b64encode(b"[" * 100_000).decode(), "cut": False})


def test_a_long_difference_is_shortened() -> None:
    """And equal answers are shown once."""
    shown = difference([str(n) for n in range(1000)], [str(-n) for n in range(1, 1001)])
    assert len(shown) == DIFF_LINES + 1
    assert "live and shadow answered the same" in text_of(difference(["200"], ["200"])[0])


def test_a_running_instance_is_asked(proxy: SupervisedProxy, command: Run) -> None:
    """Through the admin API, found as by every command."""
    assert command("diff", "list").stdout == "no discordant pair is kept\n"
    assert command("diff", "list", "--limit", "0").returncode == 1
    assert command("diff", "show", "00").stderr.startswith("shadowproxy: 404 Not Found")
