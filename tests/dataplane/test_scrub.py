"""Copies that are scrubbed before they are sent: the worker's part, with the process played by hand."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.config.model import SCRUBBED_BODY_LIMIT
from shadowproxy.dataplane import outcome, scrub
from shadowproxy.dataplane.scrub import JOBS_LIMIT, Scrubber
from shadowproxy.dataplane.scrubframes import JOB, REFUSED, SETUP, Decoder, encode
from shadowproxy.dataplane.scrubprocess import Scrubbing
from tests.dataplane.room import ANSWER, MIRRORED, REQUEST, FakeTransport, Room

if TYPE_CHECKING:
    from shadowproxy.dataplane.scrubframes import Frame

POST = b"POST /a?token=hunter22 HTTP/1.1\r\nHost: shop.example\r\nX-Api-Key: hunter22\r\nContent-Length: %d\r\n\r\n"
CHUNKED = b"POST /a HTTP/1.1\r\nHost: shop.example\r\nX-Api-Key: hunter22\r\nTransfer-Encoding: chunked\r\n\r\n"


class Process:
    """The scrubbing process of a room: takes frames, and answers when told to."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.transport = FakeTransport("scrubber")
        self.jobs: list[Frame] = []
        self.setups = 0
        self._decoder = Decoder()
        self._scrubbing = Scrubbing()
        room.worker.scrubber.connection_made(cast("Any", self.transport))

    def take(self) -> list[Frame]:
        """The jobs that were handed over and not answered."""
        wire = bytes(self.transport.written)
        self.transport.written.clear()
        for frame in self._decoder.feed(wire):
            if frame.kind == SETUP:
                self.setups += 1
                self._scrubbing.answer(frame)
            else:
                assert frame.kind == JOB
                self.jobs.append(frame)
        return self.jobs

    def answer(self) -> None:
        """All of them, as the real one does."""
        jobs, self.jobs = list(self.take()), []
        for job in jobs:
            self.room.worker.scrubber.data_received(self._scrubbing.answer(job))

    def die(self) -> None:
        """The socket ends."""
        self.transport.close()
        self.room.worker.scrubber.connection_lost(None)


@pytest.fixture(autouse=True)
def _by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process is started."""
    monkeypatch.setattr(Scrubber, "_open", lambda _: None)


def made(**settings: Any) -> tuple[Room, Process]:
    """A room with a mirror that scrubs, and its process."""
    limits = settings.pop("limits", {})
    room = Room(MIRRORED | {"mirror": [MIRRORED["mirror"][0] | {"scrub": True, "credentials": "keep", **settings}]}, limits=limits)
    return room, Process(room)


def test_live_goes_first_and_the_copy_when_it_is_clean() -> None:
    """The shadow gets nothing before the process has answered, and then all of it in one message."""
    room, process = made()
    client, live, shadow = room.client(), room.upstream("live"), room.upstream("shadow")
    client.says(POST % 13 + b"say hunter22!")
    assert live.heard.endswith(b"say hunter22!")
    (job,) = process.take()
    assert (job.parts[0], job.parts[2]) == (b"/a?token=hunter22", b"say hunter22!")
    assert b"X-Shadow-Mirror" not in job.parts[1]
    assert b"traceparent" not in job.parts[1]
    assert shadow.heard == b""
    live.says(ANSWER)
    assert client.heard == ANSWER
    process.answer()
    sent = shadow.heard
    assert b"hunter22" not in sent
    assert sent.startswith(b"POST /a?token=")
    assert b"X-Shadow-Mirror: shadow;by=" in sent
    assert sent.partition(b"\r\n\r\n")[2].startswith(b"say ")
    shadow.says(ANSWER)
    assert room.fates() == {"paired": 1}
    assert room.worker.tee_held == 0


def test_a_chunked_request_is_sent_with_its_length() -> None:
    """Framing and trailers are the client's; what is sent is the body."""
    room, process = made()
    client, live, shadow = room.client(), room.upstream("live"), room.upstream("shadow")
    client.says(CHUNKED, b"5\r\nsay h\r\n", b"8\r\nunter22!\r\n0\r\nX-T: 1\r\n\r\n")
    assert live.heard.endswith(b"8\r\nunter22!\r\n0\r\nX-T: 1\r\n\r\n")
    process.answer()
    head, _, body = shadow.heard.partition(b"\r\n\r\n")
    assert b"Content-Length: %d" % len(body) in head
    assert b"Transfer-Encoding" not in head
    assert (body[:4], body[-1:], len(body)) == (b"say ", b"!", 13)
    live.says(ANSWER)
    shadow.says(ANSWER)
    assert room.worker.tees["all/shadow"].tally.ratio.n == 0, "live's time has the client's in it"
    assert room.fates() == {"paired": 1}


def test_scrubbing_is_nobody_s_latency(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shadow's time begins when its request is sent."""
    room, process = made()
    client, live, shadow = room.client(), room.upstream("live"), room.upstream("shadow")
    client.says(REQUEST)
    live.says(ANSWER)
    now_ns = time.monotonic_ns()
    monkeypatch.setattr(time, "monotonic_ns", lambda: now_ns + 900_000_000)
    process.answer()
    shadow.says(ANSWER)
    report = room.worker.tees["all/shadow"].tally.report()
    assert report["fates"] == {"paired": 1}
    assert report["ratio"]["s1"] < 0.0


@pytest.mark.parametrize("size", [SCRUBBED_BODY_LIMIT, SCRUBBED_BODY_LIMIT + 1])
def test_a_body_has_a_limit(size: int) -> None:
    """One that could not be looked through in time is not even handed over."""
    room, process = made(body_limit="8MiB")
    client, _ = room.client(), room.upstream("live")
    client.says(POST % size, b"x" * (size - 1), b"x")
    assert len(process.take()) == (size == SCRUBBED_BODY_LIMIT)
    if size > SCRUBBED_BODY_LIMIT:
        assert room.fates() == {"shed_unscrubbable": 1}
        assert room.worker.tee_held == 0


def test_the_mirror_s_limits_hold_while_it_streams() -> None:
    """body_limit and the worker's memory."""
    room, process = made(body_limit=10)
    room.client().says(CHUNKED, b"6\r\nabcdef\r\n", b"6\r\nabcdef\r\n", b"0\r\n\r\n")
    assert room.fates() == {"too_large": 1}
    room, process = made(limits={"tee_memory": 10})
    room.client().says(CHUNKED, b"6\r\nabcdef\r\n", b"6\r\nabcdef\r\n", b"0\r\n\r\n")
    assert room.fates() == {"shed_memory": 1}
    assert (process.take(), room.worker.tee_held) == ([], 0)


def test_what_the_process_refuses_is_not_sent() -> None:
    """And counted as such."""
    room, process = made()
    client, live, shadow = room.client(), room.upstream("live"), room.upstream("shadow")
    client.says(POST % 1 + b"\x00")
    process.answer()
    live.says(ANSWER)
    assert (client.heard, shadow.heard) == (ANSWER, b"")
    assert room.fates() == {"shed_unscrubbable": 1}


def test_too_many_are_not_handed_over() -> None:
    """By number and by bytes; live does not notice."""
    room, process = made(in_flight=2 * JOBS_LIMIT)
    live = room.upstream("live")
    client = room.client()
    for number in range(JOBS_LIMIT + 5):
        client.says(REQUEST)
        live.says(ANSWER)
        assert client.heard == ANSWER, number
    assert len(process.take()) == JOBS_LIMIT
    assert room.fates() == {"shed_scrub": 5}
    room, process = made(body_limit="1MiB")
    room.upstream("live")
    for _ in range(9):
        room.client().says(POST % (SCRUBBED_BODY_LIMIT - 4096), b"x" * (SCRUBBED_BODY_LIMIT - 4096))
    assert len(process.take()) == 8
    assert room.fates() == {"shed_scrub": 1}
    assert "8 jobs" in repr(room.worker.scrubber)


def test_what_is_late_is_given_up_and_its_answer_ignored() -> None:
    """The pairs behind it go on; the answer comes for nobody."""
    room, process = made()
    client, live, shadow = room.client(), room.upstream("live"), room.upstream("shadow")
    client.says(REQUEST)
    live.says(ANSWER)
    room.pass_time(0.9)
    assert room.fates() == {}
    room.pass_time(1.1)
    assert room.fates() == {"shed_scrub": 1}
    process.answer()
    assert shadow.heard == b""
    assert "0 jobs, 0 bytes" in repr(room.worker.scrubber)


def test_a_process_that_is_gone_takes_its_copies_along(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until there is another, nothing is sent; it is tried again after a pause that grows while nothing comes of it."""
    opened: list[int] = []
    monkeypatch.setattr(Scrubber, "_open", lambda _: opened.append(1))
    room, process = made()
    opened.clear()
    client, live = room.client(), room.upstream("live")
    client.says(REQUEST)
    process.die()
    live.says(ANSWER)
    client.says(REQUEST)
    live.says(ANSWER)
    assert room.fates() == {"shed_scrub": 2}
    room.pass_time(0.9)
    assert not opened
    room.pass_time(1.1)
    assert opened
    Process(room).die()
    opened.clear()
    room.pass_time(1.5)
    assert not opened
    room.pass_time(2.1)
    assert opened
    process = Process(room)
    shadow = room.upstream("shadow")
    client.says(REQUEST)
    process.answer()
    assert shadow.heard


def test_nonsense_from_the_process_ends_it() -> None:
    """As any process that cannot be understood."""
    room, process = made()
    room.upstream("live")
    room.client().says(REQUEST)
    room.worker.scrubber.data_received(b"\xff" * 20)
    assert process.transport.is_aborted
    assert room.worker.errors == 1
    room.worker.scrubber.connection_lost(None)
    assert room.fates() == {"shed_scrub": 1}


def test_the_kill_switch_holds_for_what_is_being_scrubbed() -> None:
    """Pulled while the client sends, while the process works, and just before it answers: not a byte to the shadow."""
    for when in ("sending", "working", "word alone"):
        room, process = made()
        client, _, shadow = room.client(), room.upstream("live"), room.upstream("shadow")
        client.says(CHUNKED, b"5\r\nabcde\r\n")
        if when == "sending":
            room.words[0] = 1
        client.says(b"0\r\n\r\n")
        room.words[0] = 1
        if when == "working":
            room.worker.kill()
        process.answer()
        assert (shadow.heard, room.fates()) == (b"", {"killed": 1})
        assert room.worker.tee_held == 0


def test_a_defect_of_ours_costs_the_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted, and the next one is scrubbed."""
    room, process = made()
    room.upstream("live")
    monkeypatch.setattr(scrub.ScrubbedCopy, "on_scrubbed", lambda *_: 1 / 0)
    room.client().says(REQUEST)
    process.answer()
    assert room.fates() == {"shed_error": 1}


def test_a_reload_changes_the_rules_or_ends_the_process() -> None:
    """Unchanged rules are not sent again; without a mirror that scrubs the process is let go."""
    room, process = made()
    mirror = MIRRORED["mirror"][0] | {"scrub": True}
    room.configure(MIRRORED | {"mirror": [mirror | {"percent": 50}]})
    process.take()
    assert process.setups == 1
    room.configure(MIRRORED | {"mirror": [mirror]}, redaction={"fields": ["sku"]})
    process.take()
    assert process.setups == 2
    room.configure()
    assert process.transport.is_closed
    assert "off" in repr(room.worker.scrubber)
    with pytest.raises(ValueError, match="no redaction key"):
        Scrubber(room.worker).configure("", room.worker.config.redaction, is_wanted=True)


def test_without_scrub_there_is_no_process_and_no_other_copy() -> None:
    """A mirror that does not scrub works as it always did."""
    room = Room()
    process = Process(room)
    client, _, shadow = room.client(), room.upstream("live"), room.upstream("shadow")
    client.says(REQUEST)
    assert shadow.heard.startswith(b"GET / HTTP/1.1\r\n")
    assert process.take() == []
    assert process.transport.is_closed


def test_arms_are_scrubbed_where_they_are_sent_elsewhere() -> None:
    """The control arm gets what the shadow gets, byte for byte; what live is sent again is what live got."""
    control = {"to": "shadow", "name": "s", "scrub": True, "methods": ["GET"], "control": {"to": "other"}}
    fleets = {name: {"endpoints": [f"http://127.0.0.1:900{number}"]} for number, name in enumerate(("live", "shadow", "other"))}
    room = Room(MIRRORED | {"mirror": [control]}, fleets=fleets)
    process = Process(room)
    room.upstream("live")
    room.client().says(b"GET /?token=hunter22 HTTP/1.1\r\nHost: a\r\n\r\n")
    first, second = process.take()
    assert first.parts == second.parts
    process.answer()
    heads = [room.upstream(name).heard.split(b"\r\n")[0] for name in ("shadow", "other")]
    assert heads[0] == heads[1]
    resend = {"to": "shadow", "name": "s", "scrub": True, "methods": ["GET"], "resend": 100}
    room = Room(MIRRORED | {"mirror": [resend]}, fleets=fleets)
    assert room.worker.tees["all/s"].policy.is_scrubbed
    assert not room.worker.tees["all/s.resend"].policy.is_scrubbed


STEPS = st.lists(
    st.sampled_from(["request", "post", "begin", "finish", "leave", "answer", "refuse", "die", "revive", "kill", "resume", "later", "live", "shadow"]),
    max_size=40,
)  # fmt: skip


@given(steps=STEPS)
def test_every_copy_ends_in_one_counter(steps: list[str]) -> None:
    """P2 and P6, whatever order things happen in: fates add up at every moment, and at the end nothing is held."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Scrubber, "_open", lambda _: None)
        run(steps)


def run(steps: list[str]) -> None:
    """Play a script on a room of its own."""
    room, process = made()
    begun: list[Any] = []
    seconds = 0.0
    for step in steps:
        if step in {"request", "post", "begin"}:
            client = room.client()
            client.says({"request": REQUEST, "post": POST % 2 + b"ab", "begin": CHUNKED + b"1\r\na\r\n"}[step])
            if step == "begin":
                begun.append(client)
        elif step == "finish" and begun:
            begun.pop().says(b"1\r\nb\r\n0\r\n\r\n")
        elif step == "leave" and begun:
            begun.pop().is_lost()
        elif step == "answer":
            process.answer()
        elif step == "refuse":
            for job in process.take():
                room.worker.scrubber.data_received(encode(REFUSED, job.number, b"no"))
            process.jobs = []
        elif step == "die" and not process.transport.is_closed:
            process.die()
        elif step == "revive" and process.transport.is_closed:
            process = Process(room)
        elif step in {"kill", "resume"}:
            room.words[0] = int(step == "kill")
            if step == "kill":
                room.worker.kill()
        elif step == "later":
            seconds += 0.7
            room.pass_time(seconds)
        elif step in {"live", "shadow"}:
            side = room.upstream(step)
            if side.heard:
                side.says(ANSWER)
        room.fates()
    for client in begun:
        client.is_lost()
    room.pass_time(seconds + 120.0)
    room.worker.kill()
    room.fates()
    assert room.worker.tee_held == 0
    assert not room.worker.tees["all/shadow"].copies
    assert outcome.FATES[outcome.SHED_SCRUB] == "shed_scrub"
