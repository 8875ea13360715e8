"""The scrubbing process: what it answers, what it refuses, and that it ends with its worker."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from shadowproxy.dataplane.scrubframes import DONE, JOB, REFUSED, SETUP, Decoder, Frame, encode
from shadowproxy.dataplane.scrubprocess import Scrubbing

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = b"hunter22-Xyzzy"


def setup(**changed: Any) -> bytes:
    """A SETUP frame."""
    return encode(SETUP, 0, json.dumps({"key": "5e" * 32, "headers": [], "fields": [], "keep": [], "body_limit": 1000, **changed}).encode())


def answered(scrubbing: Scrubbing, wire: bytes) -> list[Frame]:
    """What it answers to frames."""
    return [answer for frame in Decoder().feed(wire) for answer in Decoder().feed(scrubbing.answer(frame))]


def test_a_job_is_answered_under_its_number() -> None:
    """Target, lines and body without secrets; lines end in CRLF and have the right length."""
    scrubbing = Scrubbing()
    assert not answered(scrubbing, setup())
    lines = b"Host: a\r\nX-Odd:  v \r\nX-Api-Key: %b\r\nContent-Length: 18\r\n" % SECRET
    (done,) = answered(scrubbing, encode(JOB, 7, b"/a?x=%b" % SECRET, lines, b"say %b" % SECRET))
    assert (done.kind, done.number) == (DONE, 7)
    target, fields, body = done.parts
    assert SECRET not in target + fields + body
    assert fields.startswith(b"Host: a\r\nX-Odd: v\r\nX-Api-Key: ")
    assert fields.endswith(b"\r\nContent-Length: %d\r\n" % len(body))


def test_rules_are_those_of_the_setup_before() -> None:
    """Jobs are done in order, each by the rules that were in force when it was handed over."""
    scrubbing = Scrubbing()
    job = encode(JOB, 7, b"/", b"X-House: %b\r\n" % SECRET, b"")
    assert "without a key" in repr(scrubbing)
    first, second = answered(scrubbing, setup()), answered(scrubbing, job)
    assert (first, [frame.kind for frame in second]) == ([], [DONE])
    assert SECRET in second[0].parts[1]
    answered(scrubbing, setup(headers=["X-House"]))
    (third,) = answered(scrubbing, job)
    assert (third.number, third.parts[1].startswith(b"X-House: "), SECRET in third.parts[1]) == (7, True, False)


@pytest.mark.parametrize("body", [b"\x00", b"x" * 1001])
def test_what_cannot_be_looked_through_is_refused(body: bytes) -> None:
    """With the reason, and nothing of the request."""
    scrubbing = Scrubbing()
    answered(scrubbing, setup())
    (refused,) = answered(scrubbing, encode(JOB, 9, b"/", b"X-Api-Key: %b\r\n" % SECRET, body))
    assert (refused.kind, refused.number) == (REFUSED, 9)
    assert SECRET not in b"".join(refused.parts)


def test_nothing_is_done_without_a_key() -> None:
    """A job before the setup is refused, and so is what is no job."""
    (refused,) = answered(Scrubbing(), encode(JOB, 1, b"/"))
    assert refused.kind == REFUSED
    scrubbing = Scrubbing()
    answered(scrubbing, setup())
    (refused,) = answered(scrubbing, encode(DONE, 2, b"/"))
    assert refused.kind == REFUSED


@pytest.fixture
def running() -> Iterator[tuple[subprocess.Popen[bytes], socket.socket]]:
    """A process, and the worker's end of its socket."""
    ours, theirs = socket.socketpair()
    with theirs:
        command = [sys.executable, "-m", "shadowproxy.dataplane.scrubprocess", "--channel", str(theirs.fileno())]
        child = subprocess.Popen(command, pass_fds=(theirs.fileno(),))
    ours.settimeout(60)
    yield child, ours
    ours.close()
    child.kill()
    child.wait()


def test_it_ends_with_its_worker_and_not_before(running: tuple[subprocess.Popen[bytes], socket.socket]) -> None:
    """Told to stop, it goes on while its worker has copies; when the socket ends it is gone, with status 0."""
    child, channel = running
    channel.sendall(setup() + encode(JOB, 1, b"/a", b"Host: a\r\n", b""))
    decoder, frames = Decoder(), list[Frame]()
    while not frames:
        frames = decoder.feed(channel.recv(65536))
    assert frames == [Frame(DONE, 1, (b"/a", b"Host: a\r\n", b""))]
    for number in (signal.SIGTERM, signal.SIGINT):
        child.send_signal(number)
    channel.sendall(encode(JOB, 2, b"/b", b"", b""))
    assert decoder.feed(channel.recv(65536))[0].number == 2
    channel.close()
    assert child.wait(60) == 0
