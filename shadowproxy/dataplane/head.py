"""HTTP/1 heads: from bytes to what the proxy must know, and to the bytes that it sends on.

The rules of request_head.py and response_head.py, and what they share:

1.  llhttp, in its strict mode, judges the grammar; a head that it refuses is refused. It runs
    without header callbacks (0.5 us a head instead of 3): because it has established that lines
    end in CRLF and are not folded, the head can then be split at CRLF, one line a field. It is not
    asked again about what is familiar (rules 5 to 7).
2.  What is forwarded is the client's own lines, byte for byte and in order. Lines are left out or
    added, never rewritten. (FWD-08, FWD-11, FWD-12)
3.  On top of llhttp we refuse what two readers could read differently: a second Host,
    Content-Length or other singleton, Transfer-Encoding that is not exactly `chunked`, a `#` or a
    byte over 0x7E in the target, any version but 1.0 and 1.1.
4.  Fields that belong to a connection are removed (RFC 9110 section 7.6.1), then ours are added, so
    a client's Connection field cannot remove ours. (HBH-05)
5.  Heads repeat: one client sends the same fields with every request, one endpoint with every answer of a
    second. What comes again and again is kept by its bytes (BLOCKS_LIMIT heads), with the verdict on it; a repeated
    head costs one look-up instead of a parse. Only the request line is then judged, by a pattern that is
    stricter than llhttp.
6.  Where heads differ most of their lines repeat: what a line means is looked up by the whole line (LINES_LIMIT
    lines that came twice), so that only lines not seen before are taken apart. A line is *familiar* when it is known
    so, or when its name, as it was sent, was in a head that llhttp took, and its value is of bytes that llhttp takes in any.
    A head of familiar lines alone goes without llhttp: each of them passes for itself, and what lines may not say together
    (two lengths, a length and a coding) rule 3 refuses. Whenever something in it is refused or is not familiar, llhttp is asked
    first, so that the verdict and its reason never depend on what was read before (tests/properties/test_familiar_lines.py).
    A spelling of a name not seen before is classified once, under its lower-case form with `_` and `.` read as `-` for our own names.
7.  Where heads differ in the values of a few fields only (a cookie, a trace, an id), even that is saved: a *template* is a head with
    blanks for the values of the fields that were seen to vary, and a head that fits one, byte for byte between the blanks, says what
    that one said, with its own values (templates.py). A blank is never a field whose value decides about others: what
    frames the message (but for a plain Content-Length), what belongs to the connection, what can tag a test. A value that is
    more than a value of its kind makes the head be read as in rule 6.
"""

from __future__ import annotations

from typing import Final

END_OF_HEAD: Final = b"\r\n\r\n"
CRLF: Final = b"\r\n"

UNTIL_CLOSE: Final = -2
"""Body length of an answer that ends with its connection."""

CHUNKED: Final = -1
"""Body length of a chunked message."""

LENGTH_LIMIT: Final = 2**63 - 1

BLOCKS_LIMIT: Final = 1024
"""Heads that one reader keeps; when it is full it starts anew."""

BLOCK_BYTES_LIMIT: Final = 4096
"""A longer head is not kept. Together 4 MiB a worker, whatever clients send."""

STARTS_LIMIT: Final = 1024
"""Request lines that one reader keeps with what they ask for, each under LINE_BYTES_LIMIT bytes; when it is full it starts anew."""

LINES_LIMIT: Final = 4096
"""Lines whose meaning one reader keeps; when it is full it starts anew."""

LINE_BYTES_LIMIT: Final = 512
"""A longer line is understood anew each time. Together 2 MiB a worker and direction, whatever peers send."""

LINE_BYTES: Final = bytes(byte if byte == 0x09 or (byte >= 0x20 and byte != 0x7F) else 0x20 for byte in range(256))
"""Changes, as a table of `bytes.translate`, what a field line may not be made of (RFC 9110 section 5.5, and as llhttp has it)."""

SPELLINGS_LIMIT: Final = 4096
"""Spellings of names kept by one reader: far over what clients use, and a bound on what one can make us hold."""

NEWCOMERS: Final = 4096
"""Places for hashes of what came once. A power of two."""


class Newcomers:
    """Tells what comes for the second time: what never repeats would push out what does, at a price for each.

    A hash has one place, which the next with the same low bits takes over: nothing is ever cleared or grown.
    """

    __slots__ = ("_hashes",)

    def __init__(self) -> None:
        self._hashes = [0] * NEWCOMERS

    def is_known(self, found: int) -> bool:
        """Whether something with the hash `found` was asked about lately; from now on it was. Rarely forgets, hardly ever makes up."""
        place = found & (NEWCOMERS - 1)
        hashes = self._hashes
        if hashes[place] == found:
            return True
        hashes[place] = found
        return False


class Completion:
    """The only callback of llhttp that is used: it tells whether the head was complete when its last byte had been read."""

    __slots__ = ("heads",)

    def __init__(self) -> None:
        self.heads = 0

    def on_headers_complete(self) -> None:
        """One head was complete."""
        self.heads += 1
