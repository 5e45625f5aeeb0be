"""What one SIM may send now, as this process knows it: its gap between parts and its used-up quotas.

The counts themselves are the ledger's. Here is remembered what it answered, so that
jobs do not ask again for a SIM that is full.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final
from zoneinfo import ZoneInfo

from otpsvc.gsm.ledger import until_next
from otpsvc.gsm.settings import ModemSettings
from otpsvc.gsm.types import Used

#: Another process may have given parts back: a full SIM is asked again after so many seconds.
ASK_AGAIN: Final = 30.0


class Allowance:
    """Times in seconds of `time.monotonic()`."""

    def __init__(self) -> None:
        #: The next part may go then.
        self.next_at = 0.0
        self._full_parts = 0
        self._full_until = 0.0
        self._ask_at = 0.0
        self._soft_until = 0.0

    def full(self, parts: int, now: float) -> float:
        """Seconds until so many parts may go again by the quotas; 0: as far as is known, now."""
        if parts < self._full_parts or now >= min(self._full_until, self._ask_at):
            return 0.0
        return self._full_until - now

    def allows(self, parts: int, now: float) -> bool:
        return now >= self.next_at and not self.full(parts, now)

    def above_soft(self, now: float) -> bool:
        """Others go first."""
        return now < self._soft_until

    def note_full(self, parts: int, wait: float, now: float) -> None:
        """The ledger had no room for so many parts; more will not fit either."""
        self._full_parts = parts
        self._full_until = now + wait
        self._ask_at = now + min(wait, ASK_AGAIN)

    def forget_full(self) -> None:
        """Parts were given back, or the quotas are others now."""
        self._full_until = 0.0

    def note_used(self, used: Sequence[Used], settings: ModemSettings, *, now: float, epoch: float) -> None:
        """`epoch`: the same moment as `now`, in seconds since the epoch."""
        zone = ZoneInfo(settings.timezone)
        over = [u for u in used if u.limit and u.parts > u.limit * settings.soft]
        waits = [until_next(u.window, epoch, zone) for u in over]
        self._soft_until = now + max(waits, default=0.0)

    def note_part(self, settings: ModemSettings, now: float) -> None:
        """A part goes now."""
        self.next_at = now + settings.gap + random.uniform(0, settings.jitter)
