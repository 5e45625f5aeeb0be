"""The SIM's PIN: each is tried once in the life of a SIM, and a refusal outlives the process.

3GPP TS 27.007, 8.3. Three wrong PINs lock a SIM, so a doubt always counts as tried.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from hashlib import blake2b
from typing import Final

from otpsvc.errors import CommandFailed, ModemError, StoreUnavailable
from otpsvc.gsm.at import At
from otpsvc.gsm.cause import may_pass
from otpsvc.gsm.ledger import Ledger
from otpsvc.gsm.settings import Timeouts
from otpsvc.gsm.types import State

#: Seconds between two questions to a SIM that is busy, and between two looks at one that cannot be used.
BUSY_AGAIN, LOOK_AGAIN = 1.0, 10.0
#: With fewer tries left a person has to enter it.
TRIES: Final = 3
_PIN: Final = re.compile(r"[0-9]{4,8}")
#: How makers tell the tries that are left: the first number of the answer is the PIN's.
_TRIES_TOLD: Final = (
    ("", "AT+CPINR", "+CPINR"),
    ("huawei", "AT^CPIN?", "^CPIN"),
    ("quectel", 'AT+QPINC="SC"', "+QPINC"),
    ("simcom", "AT+SPIC", "+SPIC"),
    ("telit", "AT#PCT", "#PCT"),
    ("cinterion", "AT^SPIC", "^SPIC"),
)
_NO_SIM: Final = {10: "no SIM", 13: "the SIM fails", 15: "the modem does not take this SIM"}
#: What +CPIN? says of a SIM that is still being read, and of none.
_NOT_YET: Final = frozenset({"", "NOT READY", "SIM BUSY", "BUSY"})
_ABSENT: Final = frozenset({"NOT INSERTED", "SIM NOT INSERTED", "NO SIM"})
_ASKS: Final = {5: "PH-SIM PIN", 11: "SIM PIN", 12: "SIM PUK", 17: "SIM PIN2", 18: "SIM PUK2"}


class Standstill(ModemError):
    """The modem can be used again only when somebody has done something. `reason` is for people."""

    def __init__(self, state: State, reason: str, *, again: float = LOOK_AGAIN) -> None:
        super().__init__(reason)
        self.state = state
        self.reason = reason
        self.again = again


class PinLock:
    """Opens SIMs with one PIN.

    `names`: what names the SIM, the surest first (its ICCID, the modem's IMEI, the
    path). The first decides whether it may be tried; all are noted.
    """

    def __init__(self, pin: str, ledger: Ledger, *, timeouts: Timeouts) -> None:
        self._pin = pin
        self._ledger = ledger
        self._timeouts = timeouts
        #: Noted in the ledger by this process: not tried yet; tried, and not known to be right.
        self._noted: set[str] = set()
        self._tried: set[str] = set()

    async def open(
        self,
        at: At,
        names: tuple[str, ...],
        *,
        maker: str = "",
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Return when the SIM asks for nothing.

        Raises: Standstill; what `At.ask` raises, but CommandFailed.
        """
        word = await self._word(at, monotonic)
        if word == "SIM PIN":
            await self._try(at, names, maker)
            word = await self._word(at, monotonic)
        if word in _ABSENT:
            raise Standstill(State.NO_SIM, "no SIM")
        if word == "SIM PUK":
            raise Standstill(State.PUK, "the SIM asks for its PUK")
        if word == "SIM PIN":
            raise Standstill(State.PIN, "the SIM still asks for its PIN")
        # The second PIN is for services that nobody uses here.
        if word not in {"READY", "SIM PIN2", "SIM PUK2"}:
            raise Standstill(
                State.PIN, f"the modem asks for {word}" if _is_known(word) else "the modem is locked"
            )
        await self._accepted()

    async def _word(self, at: At, monotonic: Callable[[], float]) -> str:
        """What +CPIN? says, once the SIM is no longer busy. Raises: Standstill."""
        end = monotonic() + self._timeouts.sim
        while True:
            still = Standstill(State.NO_SIM, "the SIM does not become ready")
            try:
                word = await _asked_for(at)
                if word not in _NOT_YET:
                    return word
            except CommandFailed as failed:
                if asked := _asked_by(failed):
                    return asked
                still = Standstill(State.NO_SIM, _NO_SIM.get(_number(failed), "no SIM answers"))
                if not may_pass(failed):
                    raise still from None
            if monotonic() >= end:
                raise still
            await asyncio.sleep(BUSY_AGAIN)

    async def _try(self, at: At, names: tuple[str, ...], maker: str) -> None:
        if not self._pin:
            raise Standstill(State.PIN, "the SIM asks for a PIN, and none is set")
        if not _PIN.fullmatch(self._pin):
            raise Standstill(State.PIN, "the PIN that is set is none: expected 4 to 8 digits")
        left = await tries_left(at, maker)
        if left is not None and left < TRIES:
            raise Standstill(State.PIN, f"the SIM asks for a PIN, and only {left} tries are left")
        await self._note([mark(name, self._pin) for name in names if name])
        self._tried, self._noted = self._noted, set()
        try:
            await at.ask(f'AT+CPIN="{self._pin}"', timeout=self._timeouts.slow, secret=True)
        except CommandFailed as failed:
            if failed.number in {12, 316}:
                raise Standstill(State.PUK, "the SIM asks for its PUK") from None
            raise Standstill(State.PIN, "the SIM refused the PIN; it is not tried again") from None

    async def _note(self, marks: list[str]) -> None:
        try:
            # What was noted before the store failed has not been tried.
            fresh = [each in self._noted or await self._noted_now(each) for each in marks]
        except StoreUnavailable:
            raise Standstill(State.PIN, "whether the PIN was tried before cannot be read") from None
        if not fresh[0]:
            raise Standstill(State.PIN, "the SIM refused this PIN before; it is not tried again")

    async def _noted_now(self, each: str) -> bool:
        fresh = await self._ledger.may_try_pin(each)
        if fresh:
            self._noted.add(each)
        return fresh

    async def _accepted(self) -> None:
        try:
            for each in list(self._tried):
                await self._ledger.pin_accepted(each)
                self._tried.discard(each)
        except StoreUnavailable:
            # Taken back the next time that the SIM is looked at.
            return


def mark(name: str, pin: str) -> str:
    """What the ledger remembers. A program that stores it puts a key of its own to it: a PIN is short."""
    return blake2b(f"{len(name)}:{name}:{pin}".encode(), digest_size=16).hexdigest()


async def tries_left(at: At, maker: str) -> int | None:
    """How often the PIN may still be tried; None: the modem does not tell."""
    for word, command, prefix in _TRIES_TOLD:
        if word not in maker.lower():
            continue
        try:
            lines = (await at.ask(command, prefix=prefix)).lines
        except CommandFailed:
            continue
        found = re.search(rb"[:,]\s*(\d{1,2})\b", lines[0]) if lines else None
        if found:
            return int(found[1])
    return None


async def _asked_for(at: At) -> str:
    lines = (await at.ask("AT+CPIN?", prefix="+CPIN")).lines
    # Line noise may stand before it; some leave its name out.
    line = next((each for each in lines if each.startswith(b"+CPIN:") or each == b"READY"), b"")
    return line.removeprefix(b"+CPIN:").strip().decode("latin-1").strip('"').upper()


def _number(failed: CommandFailed) -> int:
    """By 27.007, 9.2: that of 27.005 is greater by 300."""
    return failed.number - 300 if failed.kind == "CMS" and failed.number >= 300 else failed.number


def _asked_by(failed: CommandFailed) -> str:
    """What +CPIN? would have said, if it had not said so by an error; empty: it says something else."""
    return _ASKS.get(_number(failed), "")


def _is_known(word: str) -> bool:
    """Whether the modem's word may be shown: untrusted text otherwise."""
    return re.fullmatch(r"(SIM|PH-[A-Z]{2,8}) (PIN|PUK)", word) is not None
