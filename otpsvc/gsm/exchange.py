"""What goes over one open port: the command of now, what is owed of earlier ones, and the URCs.

Nothing here waits: `at` does, on the futures of a `Transaction`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from otpsvc.errors import CommandFailed, LineLost, NoAnswer
from otpsvc.gsm import trace as tracing
from otpsvc.gsm import urc
from otpsvc.gsm.framer import Framer, Prompt
from otpsvc.gsm.framer import Line as Text
from otpsvc.gsm.pairs import Pairs
from otpsvc.gsm.port import Line
from otpsvc.gsm.transaction import Response, Transaction, final_of

_log = logging.getLogger("otpsvc.gsm")

_ESC: Final = b"\x1b"
_CTRL_Z: Final = b"\x1a"
#: Seconds for the OK after +CMGS: some firmware leaves it out.
_OK_WAIT: Final = 2.0
#: Seconds of silence inside a URC after which its rest is not awaited.
_BREAK: Final = 0.1
ANEW: Final = "the modem started anew or switched itself off"


class LostWhileSending(LineLost):
    """The line was lost, or the modem started anew, after Ctrl-Z: nobody knows."""

    written: Final = True


class Exchange:
    """One open port, from its opening to its loss. `trace` may be set at any time."""

    def __init__(self, heard: Callable[[urc.Urc], None], trace: tracing.Sink | None) -> None:
        self.trace = trace
        self.line: Line | None = None
        #: When something came last, by the loop's clock.
        self.heard_at = 0.0
        #: How often all was lost that the modem had been told: the port went, or it started anew.
        self.losses = 0
        self._heard = heard
        self.reset()

    def reset(self) -> None:
        """As for a port that was just opened."""
        self._framer = Framer()
        self._pairs = Pairs()
        self._now: Transaction | None = None
        # Final results of abandoned commands that are still to come; `_unsure`: that number is a guess.
        self._owed = 0
        self._unsure = False
        self._wait_until = 0.0
        self._late_until = 0.0
        self._paid: asyncio.Future[None] | None = None

    def counted(self) -> bool:
        """Whether the next final result belongs to the next command."""
        return not self._owed and not self._unsure

    async def paid(self) -> None:
        """Until nothing is owed, or no more is hoped for it."""
        left = self._wait_until - asyncio.get_running_loop().time()
        if self._owed and not self._unsure and left > 0:
            self._paid = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._paid], timeout=left)

    def doubt(self) -> None:
        """Something is written whose final results cannot be counted."""
        self._unsure = True

    def settled(self) -> None:
        """The last answer was that of the last command."""
        self._owed, self._unsure = 0, False
        self._framer.forget_prompt()

    # --- to the modem ---

    def write(self, data: bytes) -> None:
        """Raises LineLost."""
        if self.line is None:
            raise LineLost("the port is not open")
        try:
            self.line.write(data)
        except LineLost:
            self._unsure = True
            raise

    def put(self, asked: Transaction, command: str, *, secret: bool = False) -> None:
        """Write a command; it is the one of now. Raises LineLost."""
        if asyncio.get_running_loop().time() > self.heard_at + _BREAK:
            self._handle(self._framer.give_up_quote())
        if asked.stage == "prompt":
            self._framer.await_prompt(asked.echo)
        self.write(asked.echo + b"\r")
        self._now = asked
        if self.trace is not None:
            self.trace(tracing.sent(command, secret=secret))

    def hand_over(self, asked: Transaction, late: float) -> None:
        """Write the body; `late`: seconds in which its result is told.

        Raises CommandFailed, NoAnswer and LineLost: not written, for the command ended
        right behind its prompt.
        """
        if self._now is not asked:
            raise asked.early or LineLost(ANEW)
        self.write(asked.body + _CTRL_Z)
        asked.begin_result()
        self._late_until = asyncio.get_running_loop().time() + late
        if self.trace is not None:
            self.trace(tracing.body(len(asked.body) // 2))

    def escape(self) -> None:
        """Leave a prompt, if one is up."""
        if self.line is None:
            return
        try:
            self.line.write(_ESC)
        except LineLost:
            return
        if self.trace is not None:
            self.trace(tracing.escape())

    # --- when a wait ends early ---

    def expire(self, asked: Transaction, patience: float = 0.0) -> None:
        """Its time is over; the next command waits `patience` seconds more for its result."""
        if asked.answer.done():
            return
        self.abandon(asked, patience and asyncio.get_running_loop().time() + patience)
        # +CMGS came and its OK did not: sent.
        asked.settle(None if asked.reference is not None else NoAnswer(asked.name, asked.stage))

    def abandon(self, asked: Transaction, wait_until: float) -> None:
        """Nobody waits for `asked`; the next command waits until then for its result (0: not at all)."""
        if self._now is not asked:
            self._tell_unread(asked)
            return
        asked.abandoned = True
        self._owed += 1
        self._wait_until = wait_until
        if asked.stage == "prompt":
            # Whether ESC is answered differs; a prompt that is still to come gets another one.
            self._unsure = True
            if asked.prompted or not wait_until:
                self.escape()

    def _tell_unread(self, asked: Transaction) -> None:
        # The result came in the same step of the loop in which the wait for it was cancelled.
        if asked.stage == "result" and asked.answer.done() and not asked.answer.cancelled():
            outcome = asked.answer.result()
            if not isinstance(outcome, LineLost | NoAnswer):
                reference = -1 if asked.reference is None else asked.reference
                self._late(reference, failed=isinstance(outcome, CommandFailed))

    def fail(self, reason: str) -> None:
        """Whoever waits learns that no answer will come."""
        asked, self._now = self._now, None
        self.losses += 1
        self._owed, self._unsure = 0, True
        self._late_until = 0.0
        self._framer.forget_prompt()
        if asked is not None:
            asked.settle(LostWhileSending(reason) if asked.stage == "result" else LineLost(reason))
        self._release()

    # --- from the modem ---

    def feed(self, data: bytes) -> None:
        """Octets that came. Never raises."""
        self.heard_at = asyncio.get_running_loop().time()
        self._handle(self._framer.feed(data))

    def _handle(self, events: list[Text | Prompt]) -> None:
        for event in events:
            if self.line is None:  # a listener closed it
                return
            if isinstance(event, Prompt):
                self._prompted()
            else:
                self._take(event.text)

    def _prompted(self) -> None:
        if self.trace is not None:
            self.trace(tracing.prompt())
        asked = self._now
        if asked is not None and asked.stage == "prompt":
            asked.prompted = True
            if not asked.abandoned:
                asked.settle(None)
                return
        self.escape()

    def _take(self, line: bytes) -> None:
        asked = self._now
        if asked is not None and not (line := asked.without_echo(line)):
            return
        if self.trace is not None:
            self.trace(tracing.received(line))
        if self._pairs.begins(line):
            return
        if pair := self._pairs.claim(line):
            self._tell(pair)
        elif line.startswith(b"+CMGS:"):
            self._accepted(line)
        elif asked is None:
            self._stray(line)
        else:
            self._answer(asked, line)

    def _answer(self, asked: Transaction, line: bytes) -> None:
        if (outcome := asked.final(line)) is not None:
            self._final(asked, outcome)
        elif urc.word(line) is None and asked.wants(line):
            if unasked := asked.keep(line):
                self._tell(urc.parse(unasked))
        else:
            self._unasked(line)

    def _stray(self, line: bytes) -> None:
        if final_of(line) is None:
            self._unasked(line)
        else:
            self._pay()

    def _accepted(self, line: bytes) -> None:
        asked = self._now
        if asked is None or asked.stage != "result":
            self._late(_reference(line))
            return
        asked.reference = _reference(line)
        if asked.abandoned:
            self._late(asked.reference)
        else:
            asked.grace = asyncio.get_running_loop().call_later(_OK_WAIT, self.expire, asked)

    def _final(self, asked: Transaction, outcome: Response | CommandFailed) -> None:
        if asked.waits_for_mark(outcome):
            return
        self._now = None
        if asked.grace is not None:
            asked.grace.cancel()
        if asked.abandoned:
            self._pay()
            # After ESC an OK without +CMGS proves nothing: it may say that the text was dropped.
            if asked.stage == "result" and asked.reference is None and not self._unsure:
                self._late(-1, failed=isinstance(outcome, CommandFailed))
        elif asked.stage == "prompt" and isinstance(outcome, Response):
            # OK where a prompt belongs.
            self._unsure = True
            asked.early = NoAnswer(asked.name, "prompt")
            asked.settle(asked.early)
        elif asked.stage == "prompt" and isinstance(outcome, CommandFailed):
            asked.early = outcome
            asked.settle(outcome)
        else:
            asked.settle(None if asked.reference is not None else outcome)

    def _pay(self) -> None:
        self._owed = max(0, self._owed - 1)
        if not self._owed:
            self._release()

    def _release(self) -> None:
        if self._paid is not None and not self._paid.done():
            self._paid.set_result(None)

    def _late(self, reference: int, *, failed: bool = False) -> None:
        if asyncio.get_running_loop().time() < self._late_until:
            self._late_until = 0.0
            self._tell(urc.LateResult(reference, failed))

    def _unasked(self, line: bytes) -> None:
        came = urc.parse(line)
        gone = isinstance(came, urc.Power) and came.down
        if isinstance(came, urc.Boot):
            # The words of a ready SIM come after a PIN too, but never while a text is being sent.
            gone = came.sure or (self._now is not None and self._now.stage == "result")
        if gone:
            self.fail(ANEW)
        self._tell(came)

    def _tell(self, came: urc.Urc) -> None:
        try:
            self._heard(came)
        except Exception as error:  # noqa: BLE001  a listener's bug must not lose the lines behind it
            _log.error("a listener of the modem failed: %s", type(error).__name__)


def _reference(line: bytes) -> int:
    digits = line[6:].split(b",")[0].strip()
    return int(digits) if digits.isdigit() and len(digits) <= 3 else -1
