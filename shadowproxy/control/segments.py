"""The files of a journal: the one that is written, and those before it.

    NAME.experiments.000001.jsonl    the oldest segment
    NAME.experiments.000002.jsonl
    NAME.experiments.jsonl           the present one, the third

The rules of this file:

* in the order of their names the files are the whole journal;
* the path of the present one is never without a file: it gets its second name first, and then the next segment takes its
  place, each made durable before the next step. What a crash leaves half done is undone by `tidy`: nothing in the new
  segment was acknowledged to anybody;
* only the oldest are ever removed, and no more than REMOVED_AT_ONCE at a turn: a clock that is wrong for a day must not
  take the evidence of years with it.

The thread of the journal writes; anybody reads.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from typing import IO, TYPE_CHECKING, Any, Final

from shadowproxy.errors import StateError
from shadowproxy.experiments.journal import SEGMENT, Entry, alone

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

MODE: Final = 0o600

REMOVED_AT_ONCE: Final = 2

HOLE_BYTES: Final = 1024 * 1024
"""What may follow zeros and still be what a power cut left: many times what one sync is for."""

_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW


class Segments:
    """The files of the journal whose present one is at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._next = path.with_name(f"{path.name}.new")
        self._name = re.compile(rf"{re.escape(path.stem)}\.([0-9]{{6,}}){re.escape(path.suffix)}")

    def __repr__(self) -> str:
        return f"<Segments {str(self.path)!r}>"

    def older(self, number: int) -> Path:
        """What segment `number` is called once it is no longer the present one."""
        return self.path.with_name(f"{self.path.stem}.{number:06}{self.path.suffix}")

    def numbers(self) -> list[int]:
        """Those of the older segments that are there, in order. Raises OSError."""
        names = (self._name.fullmatch(name) for name in os.listdir(self.path.parent))  # noqa: PTH208  names are enough
        return sorted(int(found[1]) for found in names if found)

    def open_present(self) -> int:
        """A descriptor of the present one, to append to; made if there is none. Raises OSError."""
        return os.open(self.path, _FLAGS, MODE)

    def tidy(self) -> None:
        """Undo a turn that a crash interrupted. Raises OSError."""
        self._next.unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            present = self.path.stat(follow_symlinks=False)
            for number in self.numbers()[-1:]:
                named = self.older(number).stat(follow_symlinks=False)
                if (named.st_dev, named.st_ino) == (present.st_dev, present.st_ino):
                    self.older(number).unlink()
        sync_directory(self.path.parent)

    def turn(self, number: int, header: bytes) -> int:
        """Make the present file, all of which is durable, the older segment `number`, and begin the next one with `header`.

        Returns:
            A descriptor of the new one.

        Raises:
            OSError: the new one is not in place, or not surely so.
        """
        descriptor = os.open(self._next, _FLAGS | os.O_TRUNC, MODE)
        try:
            rest = memoryview(header)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            os.fsync(descriptor)
            os.link(self.path, self.older(number))
            sync_directory(self.path.parent)
            os.replace(self._next, self.path)  # noqa: PTH105  beside link
            sync_directory(self.path.parent)
        except BaseException:
            os.close(descriptor)
            with contextlib.suppress(OSError):
                self.tidy()
            raise
        return descriptor

    def forget(self, before: float) -> list[Path]:
        """Remove the oldest segments that were last written to before this time (unix seconds). Raises OSError."""
        gone = []
        for number in self.numbers()[:REMOVED_AT_ONCE]:
            path = self.older(number)
            if path.stat().st_mtime >= before:
                break
            path.unlink()
            gone.append(path)
        return gone

    def opened(self, first: int = 0) -> Iterator[IO[bytes]]:
        """The files from segment `first` on, or from the oldest there is, each open for as long as it is the last that was given.

        The present one may be turned meanwhile: then it is found under its other name.

        Raises:
            OSError: one cannot be read.
            StateError: the first that was asked for, or one in the middle, is missing.
        """
        oldest = min(self.numbers(), default=0)
        if 0 < first < oldest:
            raise StateError(f"{self.older(first)}: this part of the journal is missing")
        number = first or oldest
        while True:
            with contextlib.ExitStack() as stack:
                try:
                    file = stack.enter_context(self.older(number).open("rb"))
                except FileNotFoundError:
                    file = stack.enter_context(self.path.open("rb"))
                    found = number_of(file)
                    if number and found > number:
                        if self.older(number).exists():
                            continue
                        raise StateError(f"{self.older(number)}: this part of the journal is missing") from None
                    if found >= number:
                        yield file
                    return
                yield file
            number += 1

    def entries_at(self, places: Iterable[tuple[int, int]], present: int) -> Iterator[Entry]:
        """The entries at these places (segment, byte), in order, each verified by itself; those that are not there are left out.

        Args:
            places: where lines begin.
            present: the number of the present segment.
        """
        at, file = -1, None
        with contextlib.ExitStack() as stack:
            for number, offset in sorted(places):
                with contextlib.suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
                    if number != at:
                        stack.close()
                        at, file = number, None
                        file = stack.enter_context((self.path if number == present else self.older(number)).open("rb"))
                    if file is not None:
                        file.seek(offset)
                        yield alone(file.readline().rstrip(b"\n"))


class Whole:
    """The whole lines of a file; `torn` is what stands behind the last of them, `size` how many bytes they have.

    Zeros are in no line that was written: where some are near the end, the file had grown before a power cut, but not all that it was
    to hold had reached the disk. Nothing from there on was ever synced.
    """

    def __init__(self, file: Any) -> None:
        self.size = 0
        self.torn = b""
        self._file = file

    def __iter__(self) -> Iterator[bytes]:
        for line in self._file:
            if not line.endswith(b"\n"):
                self.torn = line
                return
            if b"\0" in line and len(rest := line + self._file.read(HOLE_BYTES)) <= HOLE_BYTES:
                self.torn = rest
                return
            yield line
            self.size += len(line)


def number_of(file: IO[bytes]) -> int:
    """The number of a segment, which is then read from its beginning: 1 unless its first line is a header that says another. Raises OSError."""
    file.seek(0)
    line = file.readline()
    file.seek(0)
    with contextlib.suppress(ValueError, TypeError, KeyError, RecursionError):
        entry = json.loads(line)
        if entry["kind"] == SEGMENT:
            return int(entry["body"]["segment"])
    return 1


def sync_directory(directory: Path) -> None:
    """Make names in a directory durable. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
