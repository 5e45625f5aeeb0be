"""The SIM: PIN, PUK and how often they may be tried (3GPP 31.102; 27.007, 8.3)."""

from __future__ import annotations

import time
from collections.abc import Callable

PIN_TRIES, PUK_TRIES = 3, 10


class Refusal(Exception):
    """A command ends with an error. `kind` is `CMS`, `CME` or empty (a bare ERROR)."""

    def __init__(self, kind: str = "", number: int = -1) -> None:
        super().__init__(kind, number)
        self.kind = kind
        self.number = number


class Sim:
    """`pin` empty: the lock is off. `wrong` counts the wrong PINs over its whole life."""

    def __init__(
        self,
        *,
        pin: str = "",
        puk: str = "12345678",
        iccid: str = "",
        imsi: str = "",
        number: str = "",
        smsc: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.pin = pin
        self.puk = puk
        self.iccid = iccid
        self.imsi = imsi
        self.number = number
        self.smsc = smsc
        self.tries = PIN_TRIES
        self.puk_tries = PUK_TRIES
        self.wrong = 0
        self.present = True
        self.unlocked = not pin
        self._clock = clock
        self._busy = 0.0

    def power(self, busy: float) -> None:
        """A new start: the PIN is wanted again. `busy`: seconds until it answers."""
        self.unlocked = not self.pin
        self.busy_for(busy)

    def busy_for(self, seconds: float) -> None:
        self._busy = self._clock() + seconds

    @property
    def busy(self) -> bool:
        return self._clock() < self._busy

    @property
    def state(self) -> str:
        """As +CPIN? says it. Raises Refusal without a SIM, or while it is busy."""
        if not self.present:
            raise Refusal("CME", 10)
        if not self.unlocked and self.tries == 0:
            return "SIM PUK"
        if not self.unlocked:
            return "SIM PIN"
        if self.busy:
            raise Refusal("CME", 14)
        return "READY"

    def enter(self, pin: str, busy: float) -> None:
        """AT+CPIN=pin. Raises Refusal: CME 16 wrong, 12 the PUK is wanted, 3 nothing was asked."""
        self._want("SIM PIN", 12)
        if pin != self.pin:
            self.wrong += 1
            self.tries -= 1
            raise Refusal("CME", 12 if self.tries == 0 else 16)
        self._open(busy)

    def unblock(self, puk: str, pin: str, busy: float) -> None:
        """AT+CPIN=puk,pin. Raises Refusal; after ten wrong ones the SIM is dead (CME 13)."""
        self._want("SIM PUK", 3)
        if self.puk_tries == 0:
            raise Refusal("CME", 13)
        if puk != self.puk:
            self.puk_tries -= 1
            raise Refusal("CME", 16)
        self.pin = pin
        self._open(busy)

    def _want(self, state: str, otherwise: int) -> None:
        found = self.state
        if found == "READY":
            raise Refusal("CME", 3)
        if found != state:
            raise Refusal("CME", otherwise)

    def _open(self, busy: float) -> None:
        self.tries, self.puk_tries, self.unlocked = PIN_TRIES, PUK_TRIES, True
        self.busy_for(busy)

    def ready(self, *, sms: bool = False) -> None:
        """Raises Refusal, in the numbers of 27.005 for commands of SMS, else of 27.007."""
        try:
            state = self.state
        except Refusal as refusal:
            raise Refusal("CMS", 300 + refusal.number) if sms else refusal from None
        if state != "READY":
            pin = state == "SIM PIN"
            raise Refusal("CMS", 311 if pin else 316) if sms else Refusal("CME", 11 if pin else 12)
