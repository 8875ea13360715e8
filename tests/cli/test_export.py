"""Exported requests are run for real, and what arrives is compared with what was captured, byte for byte."""

from __future__ import annotations

import ast
import base64
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.cli.export import EXPORTS, as_curl, as_locust, as_pytest, printable, replay_of, shell_quoted
from tests.kit import Origin
from tests.kit.answers import ok
from tests.kit.process import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.kit.wire import Seen

NASTY = 'it\'s; $(touch pwned) `touch pwned` "${HOME}" \\ %s !! } ~ & | < > * ? \u00e9'
"""A header value that would do something if a shell or Python read it."""

BODIES = {
    "none": b"",
    "json": b'{"name": "O\'Neil", "cost": "$5 `x` \\u00e9", "at": "@file"}\n',
    "at": b"@/etc/hostname",
    "binary": bytes(range(256)) * 3,
    "nul": b"a\0b",
    "long": b"0123456789abcdef" * 20_000,
    "newlines": b"\r\n\n  trailing newline\n",
    "utf8": "gr\u00fc\u00dfe \U0001f600".encode(),
    "ends": b"'\"\"\"'''END_OF_BODY\nEND_OF_BODY\n",
}


def exemplar(method: str = "POST", target: str = "/orders?a=1", headers: Any = (), body: bytes = b"", **more: Any) -> dict[str, Any]:
    """The document of an exemplar."""
    answer = {"outcome": "200", "first_seconds": 0.1, "last_seconds": 0.1, "headers": [], "body": "", "cut": False}
    request = {
        "method": method,
        "target": target,
        "headers": [["Host", "shop.test"], *headers],
        "body": base64.b64encode(body).decode(),
        "cut": False,
    }
    return {
        "id": "00ff", "at": 1.0, "route": "all", "mirror": "shadow", "trace": "ab" * 16, "why": [], "request": {**request, **more}, "live": answer,
        "shadow": {**answer, "outcome": "504"},
    }  # fmt: skip


@pytest.fixture
def origin() -> Iterator[Origin]:
    """What records the requests."""
    recording = Origin("recording")
    recording.answer = ok(b"fine")
    yield recording
    assert recording.problems() == []
    recording.stop()


def run_curl(text: str, origin: Origin, directory: Path, shell: str = "bash", **environment: str) -> Seen:
    """Run the exported command and return what arrived."""
    # One argument of a process is at most 128 KiB on Linux; what is pasted or read from a file has no such limit.
    ended = subprocess.run(
        [shell], input=text.encode(), cwd=directory, capture_output=True, timeout=60, check=False, env={"PATH": os.environ["PATH"], "BASE_URL": origin.url, **environment}
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert sorted(path.name for path in directory.iterdir()) == []
    return eventually(lambda: next((one for one in origin.requests if one.is_complete), None), "a request arrived")  # type: ignore[return-value]


def run_pytest(text: str, origin: Origin, directory: Path, **environment: str) -> tuple[int, Seen]:
    """Run the exported test file as a user would, in a directory of its own."""
    (directory / "test_exported.py").write_text(text)
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_exported.py"], cwd=directory, capture_output=True, timeout=60, check=False,
        env={"PATH": os.environ["PATH"], "BASE_URL": origin.url, **environment},
    )  # fmt: skip
    assert ended.returncode in {0, 1}, ended.stdout + ended.stderr
    seen = eventually(lambda: next((one for one in origin.requests if one.is_complete), None), "a request arrived")
    assert seen
    return ended.returncode, seen


def fields_of(seen: Seen) -> list[tuple[str, str]]:
    """What arrived, without the field that frames the body."""
    return [(name, value) for name, value in seen.fields if name.lower() != "content-length"]


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_curl_sends_what_was_captured(origin: Origin, tmp_path: Path, body: bytes) -> None:
    """Method, target, every field in order with duplicates and empty ones, and the body, whatever is in it."""
    headers = [["X-Nasty", NASTY], ["X-Twice", "1"], ["X-Empty", ""], ["X-Twice", "2"], ["Content-Type", "text/x"]]
    document = exemplar("POST", "/a/../b//c;v=1?q=[1]{2}&r=%2F%20'$(x)'&s=\"`", headers, body)
    seen = run_curl(as_curl(document), origin, tmp_path)
    assert (seen.method, seen.target, seen.body) == ("POST", document["request"]["target"], body)
    assert sorted(fields_of(seen)) == sorted((name, value) for name, value in document["request"]["headers"])
    assert [value for name, value in seen.fields if name == "X-Twice"] == ["1", "2"]


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_pytest_sends_what_was_captured(origin: Origin, tmp_path: Path, body: bytes) -> None:
    """Byte for byte, in order, and nothing else; the test passes because the answer is live's."""
    headers = [["X-Nasty", NASTY], ["X-Twice", "1"], ["X-Empty", ""], ["X-Twice", "2"], ["content-type", "text/x"]]
    document = exemplar("PUT", "/a/../b//c;v=1?q=[1]{2}&r=%2F%20'$(x)'&s=\"`\\", headers, body)
    code, seen = run_pytest(as_pytest(document), origin, tmp_path)
    assert code == 0
    assert (seen.method, seen.target, seen.body) == ("PUT", document["request"]["target"], body)
    assert fields_of(seen) == [(name, value) for name, value in document["request"]["headers"]]


def test_pytest_fails_when_the_answer_is_not_live_s(origin: Origin, tmp_path: Path) -> None:
    """That is what the test is for."""
    origin.answer = ok(b"", status=504)
    code, _ = run_pytest(as_pytest(exemplar("GET")), origin, tmp_path)
    assert code == 1


@pytest.mark.slow
@pytest.mark.parametrize("body", [BODIES["json"], BODIES["binary"], b""], ids=["json", "binary", "none"])
def test_locust_sends_what_was_captured(origin: Origin, tmp_path: Path, body: bytes) -> None:
    """The locustfile runs in locust; fields of one name arrive joined."""
    (tmp_path / "exported.py").write_text(
        as_locust(
            exemplar("POST", "/b/c?q=1&token=abc%20d", [["X-Nasty", NASTY], ["X-Twice", "1"], ["x-twice", "2"], ["Cookie", "a=b"]], body)
        )
    )
    command = [
        sys.executable,
        "-m",
        "locust",
        "-f",
        "exported.py",
        "--headless",
        "-u",
        "1",
        "-r",
        "1",
        "-t",
        "60s",
        "--only-summary",
        "--host",
        origin.url,
    ]
    running = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={"PATH": os.environ["PATH"], "HTTP_COOKIE": "a=real"}
    )
    try:
        seen = eventually(lambda: next((one for one in origin.requests if one.is_complete), None), "a request arrived", patience_s=60)
    finally:
        running.terminate()
        out, _ = running.communicate(timeout=60)
    assert seen, out
    assert (seen.method, seen.target, seen.body) == ("POST", "/b/c?q=1&token=abc%20d", body)
    sent = {name.lower(): value for name, value in seen.fields}
    assert (sent["host"], sent["x-nasty"], sent["x-twice"], sent["cookie"]) == ("shop.test", NASTY, "1, 2", "a=real")
    assert not {"user-agent", "accept", "accept-encoding"} & set(sent)


def test_pseudonyms_are_sent_unless_overridden(origin: Origin, tmp_path: Path) -> None:
    """Credentials have a variable each, in the shell and in Python; others have none."""
    headers = [["Authorization", "Bearer p'se$udo}\""], ["Cookie", "sid=x; theme=y"], ["cookie", "z=1"], ["X-Plain", "v"]]
    document = exemplar("GET", "/a?token=p1&x=2&token=p2&next=3", headers)
    names = [one.name for one in replay_of(document).variables]
    assert names == ["QUERY_TOKEN", "QUERY_TOKEN_2", "HTTP_AUTHORIZATION", "HTTP_COOKIE", "HTTP_COOKIE_2"]
    seen = run_curl(as_curl(document), origin, tmp_path)
    assert (seen.target, seen.one("Authorization")) == ("/a?token=p1&x=2&token=p2&next=3", "Bearer p'se$udo}\"")
    origin.forget()
    real = {"HTTP_AUTHORIZATION": "Bearer $(real) 'x'", "QUERY_TOKEN_2": "r%202"}
    seen = run_curl(as_curl(document), origin, tmp_path, **real)
    assert (seen.target, seen.one("Authorization")) == ("/a?token=p1&x=2&token=r%202&next=3", "Bearer $(real) 'x'")
    origin.forget()
    _, seen = run_pytest(as_pytest(document), origin, tmp_path, **real)
    assert (seen.target, seen.one("Authorization")) == ("/a?token=p1&x=2&token=r%202&next=3", "Bearer $(real) 'x'")
    assert seen.all("Cookie") == ["sid=x; theme=y", "z=1"]


def test_nothing_is_sent_without_being_told_where_to(tmp_path: Path) -> None:
    """A captured POST does not find its way to production: the host that it was for is only a field."""
    ended = subprocess.run(
        ["bash", "-c", as_curl(exemplar())],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": os.environ["PATH"]},
    )
    assert ended.returncode != 0
    assert "BASE_URL" in ended.stderr


def test_head_is_sent_as_head(origin: Origin, tmp_path: Path) -> None:
    """The command does not wait for a body that never comes."""
    assert run_curl(as_curl(exemplar("HEAD", "/h")), origin, tmp_path).method == "HEAD"


def test_fields_of_the_connection_are_left_out() -> None:
    """Framing is the sender's; a coding that was undone is no longer there; a name that is none is not written."""
    headers = [
        ["Connection", "keep-alive"],
        ["Content-Length", "9"],
        ["Transfer-Encoding", "chunked"],
        ["Content-Encoding", "gzip"],
        ["[redacted]", "x"],
        ["X", "1"],
    ]
    assert [name for name, _ in replay_of(exemplar(headers=headers, decoded=["gzip"])).fields] == ["Host", "X"]
    assert [name for name, _ in replay_of(exemplar(headers=headers)).fields] == ["Host", "Content-Encoding", "X"]


def test_what_is_missing_is_said() -> None:
    """A body that was not kept or was cut is no silent difference; live's failure is no status to expect."""
    dropped = exemplar(dropped={"reason": "not UTF-8", "bytes": 9, "digest": "00"})
    dropped["live"] = {**dropped["live"], "outcome": "timeout"}
    for write in EXPORTS.values():
        assert "The body of the request was not kept: not UTF-8" in write(dropped)
        assert "was cut" in write(exemplar(cut=True))
    assert "assert answer.status < 500" in as_pytest(dropped)
    assert "answer.status_code >= 500" in as_locust(dropped)


_TEXT = st.text(st.characters(max_codepoint=0xFF), max_size=30)


@given(target=_TEXT, method=_TEXT, value=_TEXT, body=st.binary(max_size=60), route=_TEXT)
def test_no_text_breaks_out_of_an_export(target: str, method: str, value: str, body: bytes, route: str) -> None:
    """Whatever was captured, Python files parse to the same names, and the shell command has the same words."""
    document = {**exemplar(method, target, [["X-A", value], ["Cookie", value]], body), "route": route, "trace": value}
    for write in (as_pytest, as_locust):
        tree = ast.parse(write(document))
        assert sum(isinstance(node, ast.FunctionDef) for node in ast.walk(tree)) == 1
        assert ast.get_docstring(tree)
    text = as_curl(document)
    comments = [line for line in text.splitlines() if line.startswith("#")]
    assert len(comments) >= 2


@given(st.text(st.characters(min_codepoint=1, max_codepoint=0xFF), max_size=40))
def test_shell_words_mean_themselves(text: str) -> None:
    """The shell prints back the very bytes."""
    ended = subprocess.run(
        ["bash", "-c", f"printf %s {shell_quoted(text)}"], capture_output=True, timeout=60, check=True, env={"LC_ALL": "C"}
    )
    assert ended.stdout == text.encode("latin-1")


def test_printable_shows_what_a_terminal_would_obey() -> None:
    """Escape sequences of captured traffic do nothing."""
    assert printable("a\x1b[2J\r\n\u009b") == "a\\x1b[2J\\x0d\\x0a\\x9b"
