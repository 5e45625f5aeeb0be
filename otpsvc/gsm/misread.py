"""Slots that were read in vain: one bad moment of a line must cost no text."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Final

from otpsvc.gsm.inbox import Slot

#: Reads in vain until a slot is given up, and seconds between two of them that count.
READS: Final = 3
APART: Final = 5.0


class Misread:
    """`now`: seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._slots: dict[Slot, tuple[int, float]] = {}

    def __contains__(self, slot: Slot) -> bool:
        return slot in self._slots

    def note(self, slot: Slot) -> bool:
        """It was read in vain. True: often enough, at times far enough apart."""
        count, at = self._slots.get(slot, (0, 0.0))
        if not count or self._now() - at >= APART:
            count, at = count + 1, self._now()
            self._slots[slot] = count, at
        return count >= READS

    def forget(self, slot: Slot) -> None:
        """It was read, or is nobody's any more."""
        self._slots.pop(slot, None)

    def keep(self, memory: str, there: Container[Slot]) -> None:
        """Of this memory those alone that are still there."""
        for slot in [slot for slot in self._slots if slot.memory == memory and slot not in there]:
            del self._slots[slot]

    def clear(self) -> None:
        """Another SIM is in."""
        self._slots.clear()
