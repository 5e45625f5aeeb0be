"""Parts on the account of a SIM: counted in one step before they go, given back when they surely did not."""

from __future__ import annotations

import time
from collections.abc import Callable

from otpsvc.errors import StoreUnavailable, Unavailable
from otpsvc.gsm.ledger import Ledger, Taken
from otpsvc.gsm.member import Member
from otpsvc.gsm.turns import Turns


class Account:
    """Tells the waiting line what the ledger says. `epoch`: seconds since the epoch."""

    def __init__(
        self,
        ledger: Ledger,
        turns: Turns,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        epoch: Callable[[], float] = time.time,
    ) -> None:
        self._ledger = ledger
        self._turns = turns
        self._monotonic = monotonic
        self._epoch = epoch

    async def take(self, member: Member, count: int) -> Taken | None:
        """Count so many parts; None when a quota has no room for them. Raises: Unavailable."""
        now, settings = self._monotonic(), member.settings
        try:
            taken = await self._ledger.take(member.sim, count, settings.quotas, settings.timezone)
        except StoreUnavailable:
            raise Unavailable("store") from None
        member.allowance.note_used(taken.used, settings, now=now, epoch=self._epoch())
        if taken.wait <= 0:
            return taken
        member.allowance.note_full(count, taken.wait, now)
        self._turns.rouse_at(now + taken.wait)
        self._turns.check()
        return None

    async def give_back(self, member: Member, sim: str, count: int) -> None:
        """They surely did not leave."""
        # A store that does not answer leaves them counted: that is the safe side.
        try:
            await self._ledger.give_back(sim, count, member.settings.timezone)
        except StoreUnavailable:
            return
        member.allowance.forget_full()
        self._turns.rouse()
