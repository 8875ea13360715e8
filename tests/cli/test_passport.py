"""`shadowproxy passport`: what it mints holds, and it says why something does not."""

from __future__ import annotations

import json
import os
import re
import stat
import time
from typing import TYPE_CHECKING

import pytest

from shadowproxy.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Run

SECRET = "a secret of forty characters, as text ..."
URL = "http://shop.example/orders?x=1"

CONFIG = """
listen: [{name: front, address: "127.0.0.1:0", trust: signed}]
fleets: {live: {endpoints: ["http://127.0.0.1:1"]}}
routes: [{name: all, live: live}]
tenancy: {passports: {keys: {k1: {file: KEYFILE}}, lifetime: 30s, skew: 1s}}
"""


@pytest.fixture
def key(tmp_path: Path) -> str:
    """A key file."""
    file = tmp_path / "k1.key"
    file.write_text(SECRET + "\n")
    file.chmod(0o600)
    return str(file)


def printed(capsys: pytest.CaptureFixture[str], *arguments: str, expected: int = 0) -> str:
    """What a command prints."""
    assert main(["passport", *arguments]) == expected
    return capsys.readouterr().out


def captured(headers: str, body: bytes = b"", start: str = "POST /orders?x=1 HTTP/1.1", end: str = "\r\n") -> bytes:
    """A request as it goes over the wire."""
    lines = [start, "Host: shop.example", *headers.splitlines(), *([f"Content-Length: {len(body)}"] if body else []), "", ""]
    return end.join(lines).encode() + body


def test_minted_headers_verify(tmp_path: Path, key: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Key, mint, send, verify: the whole way, with a body, a tenant and one more covered header."""
    body = tmp_path / "body"
    body.write_bytes(b"\0\xffbinary\r\n\r\n")
    headers = printed(
        capsys,
        "mint",
        "--key-file",
        key,
        "--key-id",
        "k1",
        "--url",
        URL,
        "--tag",
        "canary-7",
        "--body",
        str(body),
        "-H",
        "Content-Type: x/y",
    )
    assert [line.partition(":")[0] for line in headers.splitlines()] == [
        "Content-Type",
        "X-Test-Traffic",
        "Content-Digest",
        "Signature-Input",
        "Signature",
    ]
    request = tmp_path / "request"
    request.write_bytes(captured(headers, body.read_bytes()))
    shown = printed(capsys, "verify", "--key-file", key, "--key-id", "k1", str(request))
    assert re.match(r"holds: tenant canary-7, key k1, nonce \S{24}, (59|60) s left; covers @method .* content-type\n$", shown)
    request.write_bytes(captured(headers.replace("x/y", "x/z"), body.read_bytes()))
    shown = printed(capsys, "verify", "--key-file", key, "--key-id", "k1", str(request), expected=1)
    assert shown == "refused: bad_signature: the signature does not verify\n"


def test_a_config_says_which_keys_and_how_long(tmp_path: Path, key: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Keys, lifetime and skew are the proxy's own; the time can be given."""
    config = tmp_path / "proxy.yaml"
    config.write_text(CONFIG.replace("KEYFILE", key))
    minted = json.loads(printed(capsys, "mint", "--key-file", key, "--key-id", "k1", "--url", URL, "--lifetime", "30s", "--output", "json"))
    assert minted["expires"] - minted["created"] == 30
    assert abs(minted["created"] - time.time()) < 60
    request = tmp_path / "request"
    request.write_bytes(
        captured("\n".join(f"{name}: {value}" for name, value in minted["headers"].items()), start="GET /orders?x=1 HTTP/1.1")
    )

    def reason(at: int) -> str:
        text = printed(
            capsys,
            "verify",
            "-c",
            str(config),
            str(request),
            "--at",
            str(at),
            "--output",
            "json",
            expected=int(bool(at - minted["created"])),
        )
        found = json.loads(text)
        assert found["ok"] == (not found["reason"])
        return str(found["reason"])

    assert [reason(minted["created"] + later) for later in (0, 32, -2)] == ["", "expired", "not_yet_valid"]
    long = printed(capsys, "mint", "--key-file", key, "--key-id", "k1", "--url", URL, "--lifetime", "31s")
    request.write_bytes(captured(long, start="GET /orders?x=1 HTTP/1.1"))
    assert "lifetime_too_long" in printed(capsys, "verify", "-c", str(config), str(request), expected=1)


def test_what_an_editor_did_to_line_ends_is_forgiven(tmp_path: Path, key: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A capture that was saved with LF is read; it is for people."""
    headers = printed(capsys, "mint", "--key-file", key, "--key-id", "k1", "--url", URL)
    request = tmp_path / "request"
    request.write_bytes(captured(headers, start="GET /orders?x=1 HTTP/1.1", end="\n"))
    assert printed(capsys, "verify", "--key-file", key, "--key-id", "k1", str(request)).startswith("holds: tenant default")


def test_a_request_that_has_lost_its_tag_is_refused(tmp_path: Path, key: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It says what is missing; and a request without anything is no test."""
    headers = printed(capsys, "mint", "--key-file", key, "--key-id", "k1", "--url", URL)
    request = tmp_path / "request"
    request.write_bytes(captured(headers.replace("X-Test-Traffic: true\n", ""), start="GET /orders?x=1 HTTP/1.1"))
    found = json.loads(printed(capsys, "verify", "--key-file", key, "--key-id", "k1", str(request), "--output", "json", expected=1))
    assert (found["tenant"], found["reason"], found["covers"]) == ("default", "component_absent", None)
    request.write_bytes(captured("", start="GET /orders?x=1 HTTP/1.1"))
    found = json.loads(printed(capsys, "verify", "--key-file", key, "--key-id", "k1", str(request), "--output", "json", expected=1))
    assert (found["tenant"], found["reason"], found["covers"]) == (None, "tag_not_covered", None)


def test_keys_are_made_for_their_owner_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Mode 0600 whatever the umask, different each time, never in place of another, never printed."""
    old = os.umask(0)
    try:
        for name in ("a", "b"):
            assert printed(capsys, "key", str(tmp_path / name)) == ""
    finally:
        os.umask(old)
    made = [(tmp_path / name).read_text() for name in ("a", "b")]
    assert made[0] != made[1]
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}\n", secret) for secret in made)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600
    assert main(["passport", "key", str(tmp_path / "a")]) == 1
    assert "File exists" in capsys.readouterr().err
    assert (tmp_path / "a").read_text() == made[0]
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    assert main(["passport", "key", str(tmp_path / "link")]) == 1
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        ["--url", "shop.example/orders"],
        ["--url", "ftp://shop.example/"],
        ["--url", "http://shop.example/caf\xe9"],
        ["--url", "http://shop.example/a b"],
        ["--url", "http://user@shop.example/"],
        ["--tag", "a b"],
        ["--tag", "false"],
        ["--tag", ""],
        ["--key-id", "k 1"],
        ["--method", "GET /"],
        ["--lifetime", "soon"],
        ["-H", "no colon"],
        ["-H", "X: caf\xe9"],
        ["-H", "X: a\r\nY: b"],
    ],
)
def test_what_could_not_be_sent_is_not_minted(wrong: list[str], key: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A usage error, which says what is wrong."""
    with pytest.raises(SystemExit) as caught:
        main(["passport", "mint", "--key-file", key, "--key-id", "k1", "--url", URL, *wrong])
    assert caught.value.code == 2
    assert SECRET not in capsys.readouterr().err


def test_files_that_cannot_be_used_are_named(tmp_path: Path, key: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A missing key, one that is too short, a missing body, and a capture that is no request."""
    short = tmp_path / "short"
    short.write_text("short\n")
    noise = tmp_path / "noise"
    noise.write_bytes(b"\x16\x03\x01")
    common = ["mint", "--key-id", "k1", "--url", URL]
    for arguments, told in (
        ([*common, "--key-file", str(tmp_path / "absent")], "absent: No such file or directory"),
        ([*common, "--key-file", str(short)], "short: 5 bytes, a key has at least 32"),
        ([*common, "--key-file", key, "--body", str(tmp_path / "none")], "none: No such file or directory"),
        (["verify", "--key-file", key, "--key-id", "k1", str(noise)], "noise: no request: "),
    ):
        assert main(["passport", *arguments]) == 1
        assert told in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        main(["passport", "verify", str(noise)])
    assert caught.value.code == 2


def test_checking_a_config_shows_no_secret(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever is wrong with a key file, its content is not said."""
    (tmp_path / "k1.key").write_text("hunter2-short")
    config = tmp_path / "proxy.yaml"
    config.write_text(CONFIG.replace("KEYFILE", str(tmp_path / "k1.key")))
    assert main(["check", str(config)]) == 1
    shown = capsys.readouterr()
    assert "13 bytes, a key has at least 32" in shown.out
    assert "hunter2" not in shown.out + shown.err


def test_it_reads_and_writes_pipes(key: str, tmp_path: Path, command: Run) -> None:
    """As in `mint --body - | curl -H @-`; the output is header lines and nothing else."""
    minted = command("passport", "mint", "--key-file", key, "--key-id", "k1", "--url", URL, "--body", "/dev/null")
    assert (minted.returncode, minted.stderr) == (0, "")
    assert [line.partition(": ")[0] for line in minted.stdout.splitlines()] == ["X-Test-Traffic", "Signature-Input", "Signature"]
    assert SECRET not in minted.stdout
