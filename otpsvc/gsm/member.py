"""A modem as the pool sees it: what it may send, what the radio says, whether somebody has it."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from otpsvc.gsm.allowance import Allowance
from otpsvc.gsm.cause import Cause
from otpsvc.gsm.pdu import Submit
from otpsvc.gsm.settings import ModemSettings
from otpsvc.gsm.types import Facts, State

#: Nothing is to be hoped for soon: somebody must plug it in, pay, or give it a PIN.
DOWN: Final = frozenset(
    {State.ABSENT, State.NO_SIM, State.PIN, State.PUK, State.HUNG, State.SUSPENDED, State.DISABLED}
)


class Radio(Protocol):
    """What the pool needs of a modem: see `modem.Modem`."""

    @property
    def state(self) -> State: ...
    @property
    def facts(self) -> Facts: ...
    @property
    def ready(self) -> bool: ...
    async def submit(self, submit: Submit, *, until: float) -> int: ...
    def hold(self) -> None: ...
    def release(self) -> None: ...
    def strike(self, cause: Cause) -> None: ...
    def relieve(self) -> None: ...


class Member:
    """One modem of a pool. `turn` grows with each text that it was given."""

    def __init__(self, settings: ModemSettings, radio: Radio, allowances: dict[str, Allowance]) -> None:
        self.settings = settings
        self.radio = radio
        self.turn = 0
        #: It is about to be removed or replaced: no more work.
        self.leaving = False
        #: Of the texts it was given.
        self.sent = self.failed = self.uncertain = 0
        self._allowances = allowances
        self._busy = False
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def sim(self) -> str:
        return self.radio.facts.sim

    @property
    def allowance(self) -> Allowance:
        """Of the SIM that is in it: a SIM that moves keeps its gap."""
        return self._allowances.setdefault(self.sim, Allowance())

    @property
    def down(self) -> bool:
        return self.radio.state in DOWN

    @property
    def idle(self) -> bool:
        """Takes a text now, as far as the modem itself goes."""
        return not self._busy and not self.leaving and self.radio.ready

    def take(self) -> None:
        self._busy = True

    def free(self) -> None:
        """Whoever waits for it outside the waiting line goes first."""
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)
                return
        self._busy = False

    async def own(self) -> None:
        """Wait for the end of its text, and take it before the next; `free` gives it back."""
        if not self._busy:
            self._busy = True
            return
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        try:
            await waiting
        except asyncio.CancelledError:
            self._waiting.remove(waiting)
            if waiting.done() and not waiting.cancelled():
                self.free()
            raise
        self._waiting.remove(waiting)
