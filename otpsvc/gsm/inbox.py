"""Texts that come in: parts are put together in any order, and kept until somebody has the text.

A slot of the SIM belongs to a part until `done`: whoever deletes it earlier loses texts.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b
from typing import Final

from msgspec import Struct

from otpsvc.gsm.pdu import Deliver, whole
from otpsvc.gsm.types import Text
from otpsvc.veiled import Veiled

#: Seconds until a text goes on without the parts that never came, and how many wait at most.
PATIENCE: Final = 600.0
UNFINISHED, WAITING = 100, 1000
#: Stands where parts are missing.
GAP: Final = "[…]"

# SIM, sender, reference, total and width; a text of one part is its own key.
_Key = tuple[str, str, int, int, bool, bytes]


class Slot(Struct, frozen=True):
    """Where a part lies: 27.005, 3.1."""

    memory: str
    index: int


class Whole(Veiled, frozen=True, kw_only=True):
    """A text that can go on, and all slots that its parts lie in. `total` parts make it complete."""

    sim: str
    parts: tuple[Deliver, ...]
    total: int
    slots: tuple[Slot, ...]

    @property
    def complete(self) -> bool:
        return len(self.parts) == self.total

    def text(self, modem: str, key: bytes = b"") -> Text:
        """As the program gets it. `key` (up to 64 bytes) keeps a code from being guessed by the id."""
        first = self.parts[0]
        digest = blake2b(self.sim.encode(), key=key[:64], digest_size=16)
        for part in self.parts:
            digest.update(_print_of(part))
        return Text(
            id=digest.hexdigest(),
            modem=modem,
            sim=self.sim,
            sender=first.sender,
            text=self._said(),
            at=first.at,
            complete=self.complete,
        )

    def _said(self) -> str:
        """The text, with a mark for each run of parts that never came."""
        runs: list[list[Deliver]] = []
        numbers = [_number(part) for part in self.parts]
        for part, number, before in zip(self.parts, numbers, [0, *numbers], strict=False):
            if not runs or number != before + 1:
                runs.append([])
            runs[-1].append(part)
        said = GAP.join(whole(run) for run in runs)
        return (GAP if numbers[0] > 1 else "") + said + (GAP if numbers[-1] < self.total else "")


class _Entry(Struct, eq=False):
    key: _Key
    total: int
    since: float
    parts: dict[int, Deliver]
    slots: set[Slot]

    def whole(self) -> Whole:
        return Whole(
            sim=self.key[0],
            parts=tuple(self.parts[number] for number in sorted(self.parts)),
            total=self.total,
            slots=tuple(self.slots),
        )


class Assembly:
    """Parts that wait for the others, and texts that wait to be kept. `now`: seconds, for patience alone."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._open: dict[_Key, _Entry] = {}
        self._over: list[_Entry] = []
        self._read: dict[Slot, bytes] = {}
        self._kept: OrderedDict[tuple[str, bytes], None] = OrderedDict()

    def add(self, part: Deliver, *, sim: str, slot: Slot | None = None) -> bool:
        """Take a part, or see it again. False: its text was kept before, its slot may be deleted."""
        mark = _print_of(part)
        if (sim, mark) in self._kept:
            return False
        if slot is not None and not self._first_seen(slot, mark):
            return True
        entry = self._entry(part, sim, mark)
        entry.parts.setdefault(_number(part), part)
        entry.slots |= {slot} if slot is not None else set()
        if len(entry.parts) == entry.total:
            self._end(entry)
        return True

    def ready(self) -> list[Whole]:
        """Texts that can go on: whole, or late, or too many to wait for. They stay until `done`."""
        late = self._now() - PATIENCE
        for entry in list(self._open.values()):
            if entry.since <= late or len(self._open) > UNFINISHED:
                self._end(entry)
        # What the SIM still has is read again; only a text that was not stored there is lost.
        while len(self._over) > WAITING:
            self._forget(self._over.pop(0))
        return [entry.whole() for entry in self._over]

    def done(self, text: Whole) -> None:
        """It was kept: its slots may be deleted."""
        marks = {_print_of(part) for part in text.parts}
        for entry in [e for e in self._over if marks & {_print_of(part) for part in e.parts.values()}]:
            self._over.remove(entry)
            self._forget(entry)
        for mark in marks:
            self._kept[text.sim, mark] = None
        while len(self._kept) > WAITING:
            self._kept.popitem(last=False)

    def give_up_oldest(self) -> None:
        """The SIM is full: the parts of the text that waited longest go on as they are."""
        stored = [entry for entry in self._open.values() if entry.slots]
        if stored:
            self._end(min(stored, key=lambda entry: entry.since))

    def forget_slots(self) -> None:
        """Another SIM is in: what was read before lies in none of its slots."""
        self._read.clear()
        for entry in [*self._open.values(), *self._over]:
            entry.slots.clear()

    def _first_seen(self, slot: Slot, mark: bytes) -> bool:
        before = self._read.get(slot)
        if before is not None and before != mark:
            # Somebody else emptied it.
            for entry in [*self._open.values(), *self._over]:
                entry.slots.discard(slot)
        self._read[slot] = mark
        return before != mark

    def _entry(self, part: Deliver, sim: str, mark: bytes) -> _Entry:
        """Where a part belongs; one that is there already under its number belongs to another text."""
        key = _key(part, sim, mark)
        for entry in [e for e in (self._open.get(key), *self._over) if e is not None and e.key == key]:
            there = entry.parts.get(_number(part))
            if there is not None and _print_of(there) == mark:
                return entry
        before = self._open.get(key)
        if before is not None and _number(part) in before.parts:
            self._end(before)
            before = None
        total = part.concat.total if part.concat else 1
        entry = before or _Entry(key, total, self._now(), {}, set())
        self._open[key] = entry
        return entry

    def _end(self, entry: _Entry) -> None:
        if self._open.get(entry.key) is entry:
            del self._open[entry.key]
        if entry not in self._over:
            self._over.append(entry)

    def _forget(self, entry: _Entry) -> None:
        for slot in entry.slots:
            self._read.pop(slot, None)


def _number(part: Deliver) -> int:
    return part.concat.number if part.concat else 1


def _key(part: Deliver, sim: str, mark: bytes) -> _Key:
    if part.concat is None:
        return sim, part.sender, -1, 1, False, mark
    concat = part.concat
    return sim, part.sender, concat.reference, concat.total, concat.wide, b""


def _print_of(part: Deliver) -> bytes:
    """What makes two reads of a part one: who, when and what."""
    said = f"{len(part.sender)}:{part.sender}:{part.at}:{part.dcs}:{part.pid}:".encode()
    data = part.data.part
    return said + len(data.header).to_bytes(2, "big") + data.header + data.data
