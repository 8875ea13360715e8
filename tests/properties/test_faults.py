"""Whatever goes wrong at once, in whatever order: nothing raises, nothing stays behind, and no client takes a broken answer for a whole one."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.dataplane.faultroom import FaultRoom

SHORT = st.sampled_from(["0ms", "5ms", "40ms"])
FAULTS = st.fixed_dictionaries(
    {},
    optional={
        "delay": SHORT.filter(lambda delay: delay != "0ms"),
        "throttle": st.just({"rate": 0.5}),
        "upload": st.sampled_from([1, 1000]),
        "first_byte": SHORT.filter(lambda delay: delay != "0ms"),
        "headers": st.just({"set": {"X-A": "b"}, "remove": ["Date"]}),
        "corrupt": st.just({"json": [{"path": "$.a", "do": "null"}]}),
        "truncate": st.integers(0, 30),
        "download": st.sampled_from([100, 100_000]),
        "dribble": st.builds(lambda size, every: {"size": size, "every": every}, st.integers(1, 20), SHORT),
    },
).filter(bool)
INSTEAD = st.sampled_from(
    [{}, {}, {}, {}, {"abort": {"status": 503}}, {"reset": True}, {"half_close": True}, {"hang": "20ms"}, {"black_hole": True}]
)

BODY = b'{"a":1,"b":"0123456789"}'
DAMAGED = b'{"a":null,"b":"0123456789"}'
JSON = b"Content-Type: application/json\r\n"
ANSWERS = [
    b"HTTP/1.1 200 OK\r\n" + JSON + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY,
    b"HTTP/1.1 200 OK\r\n" + JSON + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(BODY) + BODY + b"\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY,
    b"HTTP/1.1 204 No Content\r\n\r\n",
]
REQUESTS = [
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.integers(1, 40)),
        st.tuples(st.just("answer"), st.integers(1, 60)),
        st.tuples(st.just("pass"), st.sampled_from([1, 6, 45, 300])),
        st.tuples(st.sampled_from(["ask", "answer"]), st.just(1000)),
        st.tuples(st.sampled_from(["open", "die", "release", "leave", "stall", "read"]), st.just(0)),
    ),
    max_size=25,
)


def _payload(heard: bytes) -> tuple[bytes, bool]:
    """The payload of the last answer that was heard, and whether a client takes it for whole."""
    start = heard.rfind(b"HTTP/1.1 ")
    head, _, rest = heard[start:].partition(b"\r\n\r\n")
    if b"Transfer-Encoding: chunked" in head:
        payload = b""
        while found := re.match(rb"([0-9a-f]+)\r\n", rest):
            size = int(found[1], 16)
            if not size:
                return payload, rest.endswith(b"0\r\n\r\n")
            payload += rest[found.end() : found.end() + size]
            rest = rest[found.end() + size + 2 :]
        return payload, False
    length = re.search(rb"Content-Length: (\d+)", head)
    return rest, bool(rest or length) and (length is None or len(rest) == int(length[1]))


@given(FAULTS, INSTEAD, STEPS, st.sampled_from(REQUESTS), st.sampled_from(ANSWERS), st.booleans())
def test_any_faults_in_any_order(  # noqa: PLR0917  what is drawn
    faults: dict[str, Any], instead: dict[str, Any], steps: list[tuple[str, int]], request_: bytes, answer: bytes, is_at_endpoint: bool
) -> None:
    """A client asks, an endpoint answers, either in pieces and at any time; either may leave; the run may end."""
    inject = {"endpoint": "http://127.0.0.1:9001"} if is_at_endpoint else {}
    with FaultRoom({**faults, **instead}, inject=inject) as room:
        client, live = room.client(), room.upstream("live")
        asks, answers, heard = request_ * 3, b"", b""
        has_left = is_stalled = False
        for what, number in steps:
            if what == "ask" and not has_left and client.transport.is_reading and not client.is_over:
                client.says(asks[:number]) if asks else None
                asks = asks[number:]
            elif what == "answer" and not live.is_over and live.transport.is_reading:
                if not answers and live.heard:
                    answers = answer
                if answers:
                    live.says(answers[:number])
                    answers = answers[number:]
            elif what == "pass":
                room.pass_ms(number)
            elif what == "open" and live.is_over:
                live, answers = room.upstream("live"), b""
            elif what == "die" and not live.is_over:
                live.is_lost(ConnectionResetError())
            elif what == "release":
                room.release()
            elif what == "leave" and not has_left:
                client.is_lost()
                has_left = True
            elif what == "stall" and not is_stalled and not has_left:
                client.connection.pause_writing()
                is_stalled = True
            elif what == "read" and is_stalled and not has_left:
                client.connection.resume_writing()
                is_stalled = False
            heard += client.heard
            for found in re.findall(rb"HTTP/1.1 (\d{3})", heard):
                assert found in {b"200", b"204", b"429", b"502", b"503", b"504"}
        payload, is_whole = _payload(heard)
        if is_whole and payload.startswith(b'{"a"') and b"503" not in heard:
            assert payload in {BODY, DAMAGED}
        if not has_left:
            client.is_lost()
        room.pass_ms(1)
        if not live.is_over:
            live.is_lost()
        seen = sum(exposure["seen"] for exposure in room.exposures())
        spared = sum(room.unharmed().values())
        assert spared <= seen
        if not room.faults():
            assert spared == seen
