"""Which shared word counts which mirror.

A word belongs to one "route/mirror" for as long as any worker that was told so lives: a
word that changed hands would credit one mirror's requests to another. A mirror that
comes back gets its old word.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shadowproxy.dataplane.messages import KILL_WORD, LEASE_WORD
from shadowproxy.errors import ControlError

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping

CAPACITY: Final = LEASE_WORD - 1
"""Mirrors that can be counted at once: every word but the kill switch and the leases."""


class Slots:
    """The word of each mirror, and who still uses the words of mirrors that are gone."""

    def __init__(self) -> None:
        self._slot_of: dict[str, int] = {}
        self._retired: dict[str, set[Hashable]] = {}

    def __repr__(self) -> str:
        return f"<Slots {len(self._slot_of) - len(self._retired)} in use, {len(self._retired)} retired>"

    @property
    def known(self) -> Mapping[str, int]:
        """Every mirror that some living worker may still count, with its word."""
        return self._slot_of

    def assign(self, keys: Iterable[str], living: Iterable[Hashable]) -> dict[str, int]:
        """The words of `keys`; mirrors not among them are retired.

        Args:
            keys: the mirrors of the config about to be applied, as "route/mirror".
            living: the workers alive now; a retired word is free when all of them have ended.

        Raises:
            ControlError: there are more mirrors than words.
        """
        wanted = dict.fromkeys(keys)
        users = frozenset(living)
        missing = [key for key in wanted if key not in self._slot_of]
        taken = {KILL_WORD, *self._slot_of.values()}
        if len(taken) + len(missing) > LEASE_WORD:
            raise ControlError(f"{len(wanted)} mirrors beside {len(self._slot_of)} still counted, limit {CAPACITY}")
        free = (slot for slot in range(LEASE_WORD) if slot not in taken)
        for key in wanted:
            self._retired.pop(key, None)
        for key in missing:
            self._slot_of[key] = next(free)
        for key in self._slot_of:
            if key not in wanted and key not in self._retired:
                self._retired[key] = set(users)
        self._sweep()
        return {key: self._slot_of[key] for key in wanted}

    def release(self, worker: Hashable) -> None:
        """`worker` has ended: words that only it still used are free."""
        for users in self._retired.values():
            users.discard(worker)
        self._sweep()

    def _sweep(self) -> None:
        for key in [key for key, users in self._retired.items() if not users]:
            del self._retired[key]
            del self._slot_of[key]
