"""What must outlive a process, and what several processes count together: the program lends it.

`MemoryLedger` serves a single process without restarts, and tests.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Protocol
from zoneinfo import ZoneInfo

from msgspec import Struct

from otpsvc.gsm.types import WINDOWS, Quota, Text, Used, Window


class Taken(Struct, frozen=True):
    """`wait`: seconds until the window that was full begins anew; 0: the parts were counted.

    `reference`: for the concatenation of this text's parts, 0 to 65535, another one each time.
    """

    wait: float
    reference: int = 0
    used: tuple[Used, ...] = ()


class Match(Struct, frozen=True):
    """The job that a report belongs to, and how many of its parts are still to be reported."""

    job: str
    left: int


class Ledger(Protocol):
    """Every method may raise `otpsvc.errors.StoreUnavailable`: then nothing is sent."""

    async def take(self, sim: str, parts: int, quotas: Sequence[Quota], timezone: str) -> Taken:
        """Count `parts` in all four windows of this SIM if no quota is exceeded, or in none. One step."""

    async def give_back(self, sim: str, parts: int, timezone: str) -> None:
        """They were surely not sent."""

    async def used(self, sim: str, quotas: Sequence[Quota], timezone: str) -> tuple[Used, ...]:
        """What was counted in each window."""

    async def may_try_pin(self, sim: str) -> bool:
        """Note that a PIN is about to be tried; False when that was noted before and nobody took it back.

        `sim` is a digest of what names the SIM or the port, and of the PIN.
        """

    async def pin_accepted(self, sim: str) -> None:
        """It was right."""

    async def expect(self, sim: str, references: Sequence[int], number: str, job: str, life: float) -> None:
        """Reports of these parts belong to `job`, for `life` seconds; a newer one goes before an older."""

    async def match(self, sim: str, reference: int, number: str, *, final: bool) -> Match | None:
        """Whose report this is; `final` ends the wait for that part."""

    async def keep(self, text: Text) -> None:
        """Keep a text that came in, durably; the same `id` again changes nothing."""


class MemoryLedger:
    """In this process alone. `clock` gives seconds since the epoch."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._counts: dict[tuple[str, str], int] = {}
        self._references: dict[str, int] = {}
        self._pins: set[str] = set()
        self._expected: dict[tuple[str, int, str], tuple[str, float]] = {}
        self.texts: dict[str, Text] = {}

    async def take(self, sim: str, parts: int, quotas: Sequence[Quota], timezone: str) -> Taken:
        now, zone = self._clock(), _zone(timezone)
        for quota in quotas:
            if self._counts.get((sim, stamp(quota.window, now, zone)), 0) + parts > quota.parts:
                return Taken(until_next(quota.window, now, zone), 0, self._used(sim, quotas, now, zone))
        for window in WINDOWS:
            key = sim, stamp(window, now, zone)
            self._counts[key] = self._counts.get(key, 0) + parts
        self._references[sim] = (self._references.get(sim, -1) + 1) % 65536
        return Taken(0.0, self._references[sim], self._used(sim, quotas, now, zone))

    async def give_back(self, sim: str, parts: int, timezone: str) -> None:
        now, zone = self._clock(), _zone(timezone)
        for window in WINDOWS:
            key = sim, stamp(window, now, zone)
            self._counts[key] = max(0, self._counts.get(key, 0) - parts)

    async def used(self, sim: str, quotas: Sequence[Quota], timezone: str) -> tuple[Used, ...]:
        return self._used(sim, quotas, self._clock(), _zone(timezone))

    def _used(self, sim: str, quotas: Sequence[Quota], now: float, zone: tzinfo) -> tuple[Used, ...]:
        limits = {quota.window: quota.parts for quota in quotas}
        return tuple(
            Used(w, self._counts.get((sim, stamp(w, now, zone)), 0), limits.get(w, 0)) for w in WINDOWS
        )

    async def may_try_pin(self, sim: str) -> bool:
        if sim in self._pins:
            return False
        self._pins.add(sim)
        return True

    async def pin_accepted(self, sim: str) -> None:
        self._pins.discard(sim)

    async def expect(self, sim: str, references: Sequence[int], number: str, job: str, life: float) -> None:
        for reference in references:
            self._expected[sim, reference, number] = job, self._clock() + life

    async def match(self, sim: str, reference: int, number: str, *, final: bool) -> Match | None:
        job, end = self._expected.get((sim, reference, number), ("", 0.0))
        if not job or end < self._clock():
            return None
        if final:
            del self._expected[sim, reference, number]
        return Match(job, sum(other == job for other, _ in self._expected.values()))

    async def keep(self, text: Text) -> None:
        self.texts.setdefault(text.id, text)


def stamp(window: Window, now: float, zone: tzinfo) -> str:
    """The calendar window that `now` (seconds since the epoch) lies in, such as `day:2026-11-23`."""
    shape = {"minute": "%Y-%m-%dT%H:%M", "hour": "%Y-%m-%dT%H", "day": "%Y-%m-%d", "month": "%Y-%m"}
    return f"{window}:{datetime.fromtimestamp(now, zone).strftime(shape[window])}"


def until_next(window: Window, now: float, zone: tzinfo) -> float:
    """Seconds until the next window begins, at least 1."""
    here = datetime.fromtimestamp(now, zone)
    if window in {"minute", "hour"}:
        length = 60 if window == "minute" else 3600
        return max(1.0, length - (here.minute * 60 + here.second) % length)
    start = here.replace(hour=0, minute=0, second=0, microsecond=0)
    if window == "day":
        end = datetime.fromtimestamp(start.timestamp() + 36 * 3600, zone).replace(hour=0, minute=0, second=0)
    else:
        end = (start.replace(day=28).astimezone(zone)).replace(day=1)
        end = end.replace(year=end.year + (end.month == 12), month=end.month % 12 + 1)
    return max(1.0, end.timestamp() - now)


def _zone(name: str) -> tzinfo:
    return UTC if name == "UTC" else ZoneInfo(name)
