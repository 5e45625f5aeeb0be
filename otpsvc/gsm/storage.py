"""Texts and reports that a modem stored or told: read, handed on, and only then deleted.

Slots are listed, never read one by one: reading an empty one makes some modems stop. A
modem that lists none is asked for those alone that it named itself.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from otpsvc.errors import BadPdu, CommandFailed
from otpsvc.gsm.at import At
from otpsvc.gsm.cause import Cause, cause_of
from otpsvc.gsm.framed import Entry, listed, opened, single
from otpsvc.gsm.inbox import Assembly, Slot
from otpsvc.gsm.misread import APART, Misread
from otpsvc.gsm.pdu import Deliver, StatusReport
from otpsvc.gsm.starting import Started
from otpsvc.gsm.types import Text

_log = logging.getLogger("otpsvc.gsm")

#: Seconds between two looks at the store, and from a word of a new text until it is read: more may come.
POLL, DEBOUNCE = 60.0, 0.2
#: Seconds until what the program did not take is offered again, at first and at most; and for one offer.
AGAIN, LONGEST, OFFER = 1.0, 60.0, 10.0
#: Reports that may wait.
REPORTS: Final = 1000
#: What is shown of a modem that lists nothing.
UNLISTED: Final = "AT+CMGL is refused: only texts that it names are read, none that lay there before"
#: Memories whose texts are all in another one too, and those that hold what is no text.
_LISTED: Final = ("SM", "ME", "SR")

Keep = Callable[[Text], Awaitable[None]]
Report = Callable[[str, StatusReport], Awaitable[None]]


class Storage:
    """Of one modem. `text` and `report` may raise: then the same is offered again later."""

    def __init__(
        self, modem: str, *, text: Keep, report: Report, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._modem = modem
        self._text = text
        self._report = report
        self._now = monotonic
        self._assembly = Assembly(monotonic)
        self._reports: deque[tuple[str, StatusReport, Slot | None]] = deque(maxlen=REPORTS)
        self._deletable: set[Slot] = set()
        self._delete_at = 0.0
        self._dirty: dict[str, float] = {}
        self._misread = Misread(monotonic)
        self._named: set[Slot] = set()
        self._unlisted: set[str] = set()
        self._put = ""
        self._sim, self._key = "", b""
        self._memories: tuple[str, ...] = ()
        self._selected = ""
        self._poll_at = self._offer_at = 0.0
        self._pause = AGAIN
        self._turn = asyncio.Lock()

    def begin(self, started: Started) -> None:
        """The modem has its settings: everything that lies in it is read once."""
        if started.facts.sim != self._sim:
            self._assembly.forget_slots()
            self._misread.clear()
            self._named.clear()
        self._sim, self._key = started.facts.sim, (started.facts.imsi or started.facts.imei).encode()
        self._reports = deque([each for each in self._reports if each[2] is None], maxlen=REPORTS)
        self._deletable.clear()
        known = [memory for memory in _LISTED if memory in started.memories]
        self._memories, self._put = tuple(known) or started.memories[:1], started.memory
        self._dirty = dict.fromkeys(self._memories, self._now())
        self._poll_at = self._now() + POLL

    # --- what it hears

    def stored(self, memory: str, index: int) -> None:
        """+CMTI or +CDSI named this slot."""
        self._named.add(Slot(memory, index))
        self._dirty.setdefault(memory, self._now() + DEBOUNCE)

    def direct(self, pdu: str) -> None:
        """+CMT or +CDS."""
        try:
            self._take(opened(pdu), None)
        except BadPdu:
            _log.warning("modem %s: something that is no PDU came in and is dropped", self._modem)

    # --- what is due

    @property
    def trouble(self) -> str:
        """What hinders it from reading texts; empty: nothing."""
        return UNLISTED if self._put in self._unlisted else ""

    @property
    def due(self) -> float:
        """When the store is to be read, by the clock."""
        waits = [self._poll_at, *self._dirty.values()]
        return min([*waits, self._delete_at] if self._deletable else waits)

    @property
    def offer_due(self) -> float:
        """When something is to be handed on, by the clock."""
        return self._offer_at if self._reports or self._assembly.ready() else self._now() + POLL

    async def hand_on(self) -> None:
        """Offer what is whole to the program. Raises nothing of it."""
        async with self._turn:
            await self._offer()

    async def read(self, at: At, stop: Callable[[], bool] = lambda: False) -> None:
        """Read what is due, hand it on, delete what was taken. `stop`: somebody needs the line.

        Raises: NoAnswer, LineLost.
        """
        async with self._turn:
            # It may have started anew without a word: a number in the wrong memory is another text.
            self._selected = ""
            if self._poll_at <= self._now():
                self._poll_at = self._now() + POLL
                for memory in self._memories:
                    self._dirty.setdefault(memory, self._now())
            for memory in [m for m, at_ in self._dirty.items() if at_ <= self._now()]:
                if stop():
                    return
                await self._list(at, memory)
            await self._offer()
            await self._delete(at, stop)

    async def clean(self, at: At) -> None:
        """The store is full: make room at once. Raises: NoAnswer, LineLost."""
        self._assembly.give_up_oldest()
        self._offer_at = 0.0
        self._dirty = dict.fromkeys(self._memories, self._now())
        await self.read(at)

    # --- the modem's side

    async def _list(self, at: At, memory: str) -> None:
        selected = await self._select(at, memory)
        # What comes while it is listed makes it dirty again.
        self._dirty.pop(memory, None)
        named = {slot for slot in self._named if slot.memory == memory}
        if not selected:
            self._named -= named
            return
        try:
            lines = (await at.ask("AT+CMGL=4")).lines
        except CommandFailed as failed:
            await self._not_listed(at, memory, named, failed)
        else:
            self._unlisted.discard(memory)
            self._named -= named
            found = {Slot(memory, entry.index): entry for entry in listed(lines)}
            for slot, entry in found.items():
                self._found(slot, entry)
            self._misread.keep(memory, found)
        if await self._is_full(at):
            self._assembly.give_up_oldest()

    async def _not_listed(self, at: At, memory: str, named: set[Slot], failed: CommandFailed) -> None:
        """Read what was named: that slot is not empty, as far as anybody knows."""
        if cause_of(failed) is Cause.BUSY:
            self._dirty.setdefault(memory, self._now() + APART)
            return
        if memory not in self._unlisted:
            self._unlisted.add(memory)
            _log.warning("modem %s: %s, texts in %s are read when it names them", self._modem, failed, memory)
        for slot in sorted(named, key=lambda slot: slot.index):
            try:
                self._found(slot, single(slot.index, (await at.ask(f"AT+CMGR={slot.index}")).lines))
                again = slot in self._misread and slot not in self._deletable
            except CommandFailed:
                again = not self._in_vain(slot)
            if not again:
                self._named.discard(slot)
                self._misread.forget(slot)

    async def _select(self, at: At, memory: str) -> bool:
        """Make it the memory that is read and deleted from."""
        if memory == self._selected:
            return True
        try:
            await at.ask(f'AT+CPMS="{memory}"')
        except CommandFailed:
            # One that knows a single memory need not know the command.
            if self._memories != (memory,):
                return False
        self._selected = memory
        return True

    async def _is_full(self, at: At) -> bool:
        try:
            lines = (await at.ask("AT+CPMS?")).lines
        except CommandFailed:
            return False
        found = re.search(rb'"[A-Z]{2}"\s*,\s*(\d+)\s*,\s*(\d+)', lines[0]) if lines else None
        return found is not None and int(found[1]) >= int(found[2]) > 0

    def _found(self, slot: Slot, entry: Entry) -> None:
        if slot in self._deletable or any(slot == other for _, _, other in self._reports):
            return
        # 2 and 3: texts that somebody wrote there; they only take room. (27.005, 3.1)
        if entry.state in {2, 3}:
            self._release({slot})
            return
        came = entry.opened()
        if came is None and self._in_vain(slot):
            # The last chance: a PDU under a wrong length is better than none.
            came = entry.opened(any_length=True)
            if came is None:
                _log.warning("modem %s: %s %d cannot be read: deleted", self._modem, slot.memory, slot.index)
                self._release({slot})
        if came is None:
            return
        self._misread.forget(slot)
        if not self._take(came, slot):
            self._release({slot})

    def _in_vain(self, slot: Slot) -> bool:
        """Whether it is given up; else it is read again soon."""
        if self._misread.note(slot):
            return True
        self._dirty.setdefault(slot.memory, self._now() + APART)
        return False

    def _take(self, came: Deliver | StatusReport, slot: Slot | None) -> bool:
        """False: there is nothing in it to wait for."""
        if isinstance(came, Deliver):
            return self._assembly.add(came, sim=self._sim, slot=slot)
        self._reports.append((self._sim, came, slot))
        return True

    def _release(self, slots: set[Slot]) -> None:
        """Nobody needs what lies there."""
        if not self._deletable:
            self._delete_at = self._now()
        self._deletable |= slots

    async def _delete(self, at: At, stop: Callable[[], bool]) -> None:
        # In their order: what the network kept back then comes in its order too.
        here = self._selected
        for slot in sorted(self._deletable, key=lambda slot: (slot.memory != here, slot.memory, slot.index)):
            if stop():
                return
            if await self._select(at, slot.memory):
                try:
                    await at.ask(f"AT+CMGD={slot.index}")
                except CommandFailed:
                    # The next list shows whether it is still there.
                    self._dirty.setdefault(slot.memory, self._now() + POLL)
            self._deletable.discard(slot)

    # --- the program's side

    async def _offer(self) -> None:
        if self._now() < self._offer_at:
            return
        if await self._offer_reports() and await self._offer_texts():
            self._pause, self._offer_at = AGAIN, 0.0
        else:
            self._offer_at = self._now() + self._pause
            self._pause = min(LONGEST, self._pause * 2)

    async def _offer_reports(self) -> bool:
        while self._reports:
            sim, report, slot = self._reports[0]
            if not await self._taken(self._report(sim, report)):
                return False
            self._reports.popleft()
            if slot is not None:
                self._release({slot})
        return True

    async def _offer_texts(self) -> bool:
        for whole in self._assembly.ready():
            if not await self._taken(self._text(whole.text(self._modem, self._key))):
                return False
            self._assembly.done(whole)
            self._release(set(whole.slots))
        return True

    async def _taken(self, offer: Awaitable[None]) -> bool:
        try:
            async with asyncio.timeout(OFFER):
                await offer
        except Exception as error:  # noqa: BLE001 - the program's own; the text stays where it is
            _log.warning("modem %s: what came in was not taken (%s)", self._modem, type(error).__name__)
            return False
        return True
