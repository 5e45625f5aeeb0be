"""The memories of a modem: numbered slots that keep their number until they are deleted (27.005, 3.1)."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

#: The states of a stored text, in the order of their numbers in PDU mode.
STATES = ("REC UNREAD", "REC READ", "STO UNSENT", "STO SENT", "ALL")


class Stored(Struct):
    """What lies in a slot. `state` is an index of STATES; `length`: octets of the TPDU."""

    pdu: str
    length: int
    state: int = 0
    report: bool = False

    def __repr__(self) -> str:
        return f"Stored(state={self.state}, report={self.report})"


class Memory:
    """`size` slots, numbered from `first`."""

    def __init__(self, size: int, first: int = 1) -> None:
        self.size = size
        self.first = first
        self.slots: dict[int, Stored] = {}

    def __len__(self) -> int:
        return len(self.slots)

    @property
    def full(self) -> bool:
        return len(self.slots) >= self.size

    def put(self, item: Stored) -> int:
        """The lowest free slot; -1 when there is none."""
        for index in range(self.first, self.first + self.size):
            if index not in self.slots:
                self.slots[index] = item
                return index
        return -1

    def listed(self, state: int) -> Iterator[tuple[int, Stored]]:
        """Slots in order whose text is in `state`; 4: all."""
        for index in sorted(self.slots):
            if state in {4, self.slots[index].state}:
                yield index, self.slots[index]

    def delete(self, states: set[int]) -> None:
        for index in [i for i, item in self.slots.items() if item.state in states]:
            del self.slots[index]
