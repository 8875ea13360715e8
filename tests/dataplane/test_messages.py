"""Frames between control and a worker."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.dataplane import messages
from shadowproxy.dataplane.messages import Decoder, encode

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3), max_leaves=5
)
MESSAGES = st.lists(st.dictionaries(st.text(max_size=4), JSON, max_size=3).map(lambda fields: {**fields, "type": "t"}), max_size=4)


@given(MESSAGES, st.data())
def test_what_was_sent_comes_whole_and_in_order(sent: list[dict[str, Any]], data: st.DataObject) -> None:
    """However the stream is cut."""
    wire = b"".join(map(encode, sent))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=6)))
    decoder, received = Decoder(), []
    for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True):
        received += decoder.feed(wire[start:end])
    assert received == sent


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"type": 1}', b"nonsense", b"\xff"])
def test_what_is_no_message_is_refused(body: bytes) -> None:
    """A worker that cannot read control lets go; it does not guess."""
    with pytest.raises(ValueError):
        Decoder().feed(len(body).to_bytes(4, "big") + body)


def test_a_frame_is_bounded_on_both_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything of it is kept."""
    monkeypatch.setattr(messages, "FRAME_LIMIT", 50)
    with pytest.raises(ValueError, match=r"frame of \d+ bytes, limit 50"):
        encode({"type": "x" * 50})
    with pytest.raises(ValueError, match="frame of 51 bytes, limit 50"):
        Decoder().feed((51).to_bytes(4, "big"))
