"""Delivery reports: which job they settle, and what to do with those that come too early.

A report may overtake the answer of the modem, or the ledger's note of it: it is looked
up again when the text it may belong to is noted, and after half a second and two.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar

from otpsvc.errors import StoreUnavailable
from otpsvc.gsm.doubt import DIGITS, Doubts, same_number
from otpsvc.gsm.ledger import Ledger, Match
from otpsvc.gsm.pdu import StatusReport
from otpsvc.gsm.types import Delivered

#: Seconds until a report that no text is known for is looked up again.
LOOKS: Final = (0.5, 2.0)
#: Reports that wait to be looked up again; more are not: a network may send without end.
MOST_EARLY: Final = 1000
#: What is remembered: numbers by TP-MR, and jobs of which one part failed.
MOST_KNOWN: Final = 10_000

_log = logging.getLogger("otpsvc.gsm")
K = TypeVar("K")
V = TypeVar("V")


class Reports:
    """`tell` hears of each job once: that all parts arrived, or that one failed.

    That one part failed is remembered in this process alone: after a restart in between,
    a job may be told as delivered after it was told as failed; the first word holds.
    """

    def __init__(
        self,
        ledger: Ledger,
        doubts: Doubts,
        *,
        tell: Callable[[Delivered], None],
        looks: Sequence[float] = LOOKS,
    ) -> None:
        #: Reports that no text was found for.
        self.unknown = 0
        self._ledger = ledger
        self._doubts = doubts
        self._tell = tell
        self._looks = looks
        self._early: set[asyncio.Task[None]] = set()
        self._flights: Counter[tuple[str, str]] = Counter()
        self._landed = asyncio.Event()
        self._numbers: OrderedDict[tuple[str, int], str] = OrderedDict()
        self._failed: OrderedDict[str, None] = OrderedDict()
        self._settled: OrderedDict[tuple[str, int, float], None] = OrderedDict()

    @contextlib.contextmanager
    def flight(self, sim: str, number: str) -> Iterator[None]:
        """While a text is sent and noted: its reports wait for the end of the block."""
        key = sim, number[-DIGITS:]
        self._flights[key] += 1
        try:
            yield
        finally:
            self._flights[key] -= 1
            if not self._flights[key]:
                del self._flights[key]
            self._landed.set()
            self._landed = asyncio.Event()

    async def expect(self, sim: str, references: tuple[int, ...], number: str, job: str, life: float) -> None:
        """Reports of these parts may come, for `life` seconds.

        A note that the store lost costs only them: the text is sent.
        """
        known = tuple(reference for reference in references if reference >= 0)
        for reference in known:
            _put(self._numbers, (sim, reference), number)
        try:
            await self._ledger.expect(sim, known, number, job, life)
        except StoreUnavailable:
            _log.warning("no note of the reports of job %s: store unavailable", job)

    async def came(self, sim: str, report: StatusReport) -> None:
        """A report came to this SIM. Never raises."""
        if (sim, report.reference, report.submitted) in self._settled:
            return  # Networks send some twice; a second one must not prove a doubt.
        if not self._in_flight(sim, report) and await self._look(sim, report):
            return
        if len(self._early) >= MOST_EARLY:
            self.unknown += 1
            return
        look = asyncio.create_task(self._look_again(sim, report))
        self._early.add(look)
        look.add_done_callback(self._early.discard)

    async def close(self) -> None:
        """Look no further."""
        for look in self._early:
            look.cancel()
        await asyncio.gather(*self._early, return_exceptions=True)

    async def _look_again(self, sim: str, report: StatusReport) -> None:
        for pause in self._looks:
            await asyncio.sleep(pause)
            while self._in_flight(sim, report):
                await self._landed.wait()
            if await self._look(sim, report):
                return
        self.unknown += 1

    def _in_flight(self, sim: str, report: StatusReport) -> bool:
        return (sim, report.recipient[-DIGITS:]) in self._flights

    async def _look(self, sim: str, report: StatusReport) -> bool:
        """Whether the job it belongs to was found; if not, it may be the proof of a doubt."""
        number = self._numbers.get((sim, report.reference), report.recipient)
        if not same_number(number, report.recipient):
            number = report.recipient
        try:
            match = await self._ledger.match(sim, report.reference, number, final=not report.pending)
        except StoreUnavailable:
            return False
        if match is None:
            self._doubts.report(sim, report)
            return False
        if not report.pending:
            _put(self._settled, (sim, report.reference, report.submitted), None)
            self._settle(match, report)
        return True

    def _settle(self, match: Match, report: StatusReport) -> None:
        job, told = match.job, match.job in self._failed
        if report.failed and not told:
            _put(self._failed, job, None)
            self._tell(Delivered(job, ok=False, status=report.status))
        elif not match.left and not told:
            self._tell(Delivered(job, ok=True, status=report.status))


def _put(known: OrderedDict[K, V], key: K, value: V) -> None:
    known[key] = value
    known.move_to_end(key)
    if len(known) > MOST_KNOWN:
        known.popitem(last=False)
