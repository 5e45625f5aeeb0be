"""What one job has met so far, and which modems are left to it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from otpsvc.errors import ChannelError, CommandFailed, LineLost, ModemError, NotReady, Refused, Unavailable
from otpsvc.gsm.cause import Cause, cause_of
from otpsvc.gsm.member import Member

#: Causes that pass by themselves in a moment: the same modem may be asked once more.
_PASSING = frozenset({Cause.BUSY, Cause.STORAGE})


class Tries:
    """Of one job. Times in seconds of `time.monotonic()`."""

    def __init__(self) -> None:
        #: Why the last modem did not send it.
        self.reason = ""
        self._failures: Counter[Member] = Counter()
        self._passing: set[Member] = set()
        self._refused: set[Member] = set()
        self._again: dict[Member, float] = {}

    def choices(self, members: Sequence[Member], now: float) -> list[Member]:
        """Of the modems that may send it by rule, those that it may be given now."""
        fresh = [member for member in members if member not in self._failures]
        # The only one may be tried again: there is nobody else to ask.
        left = fresh if self._another(members) else members
        return [member for member in left if now >= self._again.get(member, 0.0)]

    def end(self, members: Sequence[Member]) -> ChannelError | None:
        """Why waiting is in vain: every modem was tried, and more than one could be."""
        if self._refused and len(members) == 1:
            return Refused(self.reason)
        live = [member for member in members if not member.down]
        if len(live) > 1 and all(member in self._failures for member in live):
            return Unavailable(self.reason)
        return None

    def note(self, member: Member, error: ModemError, now: float) -> float:
        """It surely was not sent by this modem; returns when that one may be asked again.

        Raises: Refused, when nobody else could send it either.
        """
        self.reason = str(error)
        cause = cause_of(error) if isinstance(error, CommandFailed) else None
        if cause is Cause.PDU:
            raise Refused(f"pdu: {self.reason}")
        if cause is Cause.RECIPIENT:
            self._refused.add(member)
            if len(self._refused) > 1:
                raise Refused(self.reason)
        wait = self._bar(member, error, cause)
        self._again[member] = now + wait
        return now + wait

    def _bar(self, member: Member, error: ModemError, cause: Cause | None) -> float:
        # A modem that went away had no say about this text: it may have it when it is back.
        if isinstance(error, NotReady | LineLost):
            return 0.5
        if cause in _PASSING and member not in self._passing:
            self._passing.add(member)
            return random.uniform(0.5, 2.0)
        self._failures[member] += 1
        return min(30.0, 0.5 * float(1 << self._failures[member]))

    def bar(self, member: Member) -> None:
        """It may have sent it: ask another, if there is one."""
        self._failures[member] += 1

    def _another(self, members: Sequence[Member]) -> bool:
        """Whether a modem that was not tried can be hoped for, or enough others had their say."""
        if self._refused:
            return len(members) > 1
        live = [member for member in members if not member.down]
        return len(live) > 1 or any(member not in self._failures for member in live)
