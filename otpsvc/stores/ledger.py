"""The modems' ledger on Redis: what several processes count together, and what must outlive them.

No number and no name of a SIM stands in a key in clear.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

from otpsvc.gsm.ledger import Match, Taken, stamp, until_next
from otpsvc.gsm.types import WINDOWS, Quota, Text, Used
from otpsvc.store import ALL, new_op
from otpsvc.stores.connection import Script
from otpsvc.stores.redis_steps import LUA, RedisSteps, tag

__all__ = ["RedisLedger"]

_PREFIX: Final = f"gsm:{tag(ALL)}"
#: Milliseconds by which a counter outlives its window: other nodes' clocks may be late.
_MARGIN: Final = 3_600_000
#: Milliseconds that the reference of a SIM's last text is remembered.
_REFERENCE: Final = 40 * 86_400_000


def _script(name: str) -> Script:
    return Script(name, (LUA / f"{name}.lua").read_text())


class RedisLedger:
    """Implements `otpsvc.gsm.ledger.Ledger`; every method may raise StoreUnavailable.

    `name` makes a keyed digest of its arguments (`Keyring.name`); `keep` keeps a text that
    came in; `clock` gives seconds since the epoch.
    """

    def __init__(
        self,
        store: RedisSteps,
        name: Callable[..., str],
        keep: Callable[[Text], Awaitable[None]],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._name = name
        self._keep = keep
        self._clock = clock
        self._scripts = {name: _script(name) for name in ("quota", "give_back", "pin", "expect", "match")}

    async def take(self, sim: str, parts: int, quotas: Sequence[Quota], timezone: str) -> Taken:
        now, zone = self._clock(), _zone(timezone)
        lives = [int(until_next(window, now, zone) * 1000) + _MARGIN for window in WINDOWS]
        limits = [n for quota in quotas for n in (WINDOWS.index(quota.window) + 1, quota.parts)]
        keys = [*self._counters(sim, now, zone), self._sim(sim, "reference"), _op()]
        args = (parts, *lives, _REFERENCE, *limits)
        refused, reference, counted = await self._store.script(self._scripts["quota"], keys, args)
        wait = until_next(quotas[refused - 1].window, now, zone) if refused else 0.0
        return Taken(wait, reference, _used(counted, quotas))

    async def give_back(self, sim: str, parts: int, timezone: str) -> None:
        keys = [*self._counters(sim, self._clock(), _zone(timezone)), _op()]
        await self._store.script(self._scripts["give_back"], keys, [parts])

    async def used(self, sim: str, quotas: Sequence[Quota], timezone: str) -> tuple[Used, ...]:
        keys = self._counters(sim, self._clock(), _zone(timezone))
        return _used(await self._store.call("MGET", *keys), quotas)

    async def may_try_pin(self, sim: str) -> bool:
        return bool(await self._store.script(self._scripts["pin"], [self._pin(sim)], [new_op()]))

    async def pin_accepted(self, sim: str) -> None:
        await self._store.call("DEL", self._pin(sim))

    async def expect(self, sim: str, references: Sequence[int], number: str, job: str, life: float) -> None:
        parts = [self._part(sim, reference, number) for reference in references]
        keys = [f"{_PREFIX}:open:{self._name('job', job)}", *parts]
        await self._store.script(self._scripts["expect"], keys, (job, int(life * 1000)))

    async def match(self, sim: str, reference: int, number: str, *, final: bool) -> Match | None:
        keys = [self._part(sim, reference, number), _op()]
        said = await self._store.script(self._scripts["match"], keys, [int(final)])
        return Match(said[0].decode(), said[1]) if said else None

    async def keep(self, text: Text) -> None:
        await self._keep(text)

    def _counters(self, sim: str, now: float, zone: tzinfo) -> list[str]:
        return [self._sim(sim, stamp(window, now, zone)) for window in WINDOWS]

    def _sim(self, sim: str, what: str) -> str:
        return f"{_PREFIX}:sim:{self._name('sim', sim)}:{what}"

    def _pin(self, sim: str) -> str:
        return f"{_PREFIX}:pin:{self._name('pin', sim)}"

    def _part(self, sim: str, reference: int, number: str) -> str:
        return f"{_PREFIX}:part:{self._name('part', sim, str(reference), number)}"


def _op() -> str:
    """The key under which a script keeps its answer for a while, should it get lost."""
    return f"{_PREFIX}:op:{new_op().hex()}"


def _used(counted: Sequence[int | bytes | None], quotas: Sequence[Quota]) -> tuple[Used, ...]:
    limits = {quota.window: quota.parts for quota in quotas}
    return tuple(
        Used(window, int(parts or 0), limits.get(window, 0))
        for window, parts in zip(WINDOWS, counted, strict=True)
    )


def _zone(name: str) -> tzinfo:
    return UTC if name == "UTC" else ZoneInfo(name)
