"""Commands to one modem, one at a time, and what it says in between.

A command that nobody waits for any more (cancelled, or out of time) is still owed its
final result: the next one waits for that, or brings the port in step again, first.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import Final

from otpsvc.errors import CommandFailed, LineLost, ModemError, NoAnswer
from otpsvc.gsm import trace as tracing
from otpsvc.gsm import urc
from otpsvc.gsm.exchange import ANEW, Exchange, LostWhileSending
from otpsvc.gsm.port import OpenPort, open_port
from otpsvc.gsm.settings import Timeouts
from otpsvc.gsm.transaction import Response, Transaction, limit_of, name_of

__all__ = ["At", "LostWhileSending", "Response"]

#: Seconds without a word after which nothing more is on its way.
_QUIET: Final = 0.1
#: Seconds that a command waits at most for the final result of a cancelled one.
_PATIENCE: Final = 15.0
#: How much longer the prompt is waited for after it was missed once, and seconds at most.
_LATE, _LATEST = 3.0, 15.0


class At:
    """The commands of one port.

    `heard` is told every URC, `lost` once when the port goes away by itself; both are
    called inside the loop and must not block.
    """

    def __init__(
        self,
        *,
        heard: Callable[[urc.Urc], None],
        lost: Callable[[str], None],
        timeouts: Timeouts,
        trace: tracing.Sink | None = None,
        open_port: OpenPort = open_port,
    ) -> None:
        self._lost = lost
        self._timeouts = timeouts
        self._open_port = open_port
        self._turn = asyncio.Lock()
        self._exchange = Exchange(heard, trace)
        # It has told the mark; it missed the last prompt.
        self._marks = self._late = False

    @property
    def is_open(self) -> bool:
        return self._exchange.line is not None

    @property
    def trace(self) -> tracing.Sink | None:
        """Who gets every line, redacted; may be set at any time."""
        return self._exchange.trace

    @trace.setter
    def trace(self, sink: tracing.Sink | None) -> None:
        self._exchange.trace = sink

    async def open(self, path: str, baud: int) -> None:
        """Open the port, after closing the one that was open. Raises LineLost."""
        self.close()
        line = await self._open_port(path, baud, self)
        self._exchange.reset()
        self._exchange.line = line
        self._marks = False

    def close(self) -> None:
        """Close the port; who waits for an answer gets LineLost. `lost` is not called."""
        self._end("the port was closed")

    async def ask(
        self, command: str, *, prefix: str = "", timeout: float | None = None, secret: bool = False
    ) -> Response:
        """One command and its answer. Raises CommandFailed, NoAnswer, LineLost.

        `prefix`: what its information lines begin with, if not with the command's own
        name. `timeout` in seconds, else that of its class. `secret`: its arguments stay
        out of the trace; they never stand in an error.
        """
        limit = limit_of(command, self._timeouts) if timeout is None else timeout
        async with self._turn:
            asked = Transaction(command, prefix=prefix)
            await self._in_step(command, "command")
            return await self._ask(asked, command, limit, secret=secret)

    async def submit(
        self,
        command: str,
        body: str,
        *,
        prompt: float,
        result: float,
        late: float,
        until: float = math.inf,
        handed: Callable[[], None] | None = None,
    ) -> int:
        """AT+CMGS=n with its PDU in hex; gives TP-MR, -1 when the modem did not tell it.

        `prompt`: seconds until the prompt; more of them after one was missed, until one came
        in time. `result`: from Ctrl-Z on; `late`: from there too, a result that comes until
        then is told as LateResult. `until`: nothing is handed over after it (seconds of
        `time.monotonic()`), however late its turn or the prompt came; it ends as one that
        got no prompt. `handed` is called with Ctrl-Z: whatever is raised before,
        cancellation too, surely nothing was sent.

        Nothing is written either when the modem started anew, or the port was opened again,
        while it waited for its turn: LineLost.

        Raises CommandFailed, NoAnswer("prompt") and LineLost: not sent. NoAnswer("result")
        and LostWhileSending: nobody knows.
        """
        losses = self._exchange.losses
        async with self._turn:
            asked = Transaction(command, body=body)
            await self._in_step(command, "prompt")
            if self._exchange.losses != losses:
                # In text mode, as many start, the length would be a number and the PDU a text to it.
                raise LineLost(ANEW)
            left = until - time.monotonic()
            if left <= 0:
                raise NoAnswer(name_of(command), "prompt")
            self._exchange.put(asked, command)
            await self._prompted(asked, prompt, left)
            self._exchange.hand_over(asked, late)
            if handed is not None:
                handed()
            # What is written before the late result could undo the text.
            await self._wait(asked, result, max(0.0, min(late - result, result)))
            return -1 if asked.reference is None else asked.reference

    async def _prompted(self, asked: Transaction, limit: float, left: float) -> None:
        """Until the prompt; `left`: seconds that there are at most. One that came late comes late again."""
        began = time.monotonic()
        most = max(limit, min(limit * _LATE, _LATEST)) if self._late else limit
        try:
            await self._wait(asked, min(most, left))
            self._late = time.monotonic() - began >= limit
        except NoAnswer:
            self._late = self._late or time.monotonic() - began >= limit
            raise

    async def resync(self) -> bool:
        """Bring the port in step: ESC, CR, silence, AT up to three times. Raises LineLost."""
        async with self._turn:
            return await self._sync()

    def received(self, data: bytes) -> None:
        """The port calls it."""
        self._exchange.feed(data)

    def lost(self, reason: str) -> None:
        """The port calls it."""
        self._end(reason)
        self._lost(reason)

    def _end(self, reason: str) -> None:
        line, self._exchange.line = self._exchange.line, None
        if line is not None:
            line.close()
            self._exchange.fail(reason)

    async def _ask(self, asked: Transaction, command: str, limit: float, *, secret: bool = False) -> Response:
        self._exchange.put(asked, command, secret=secret)
        return await self._wait(asked, limit) or Response()

    async def _wait(self, asked: Transaction, limit: float, patience: float = 0.0) -> Response | None:
        """Until the stage ends; what ends the wait early leaves the rest to the next command.

        `patience`: seconds for which that one still waits for a result after `limit`.
        """
        loop = asyncio.get_running_loop()
        timer = loop.call_later(limit, self._exchange.expire, asked, patience)
        try:
            outcome = await asked.answer
        except asyncio.CancelledError:
            # What was handed over is given all its time: nobody may write meanwhile.
            most = limit if asked.stage == "result" else _PATIENCE
            self._exchange.abandon(asked, min(timer.when(), loop.time() + most))
            raise
        finally:
            timer.cancel()
        if isinstance(outcome, ModemError):
            raise outcome
        return outcome

    async def _in_step(self, command: str, stage: str) -> None:
        """Nothing is owed when this returns. Raises NoAnswer, LineLost; `command` was not written."""
        if self._exchange.counted():
            return
        await self._exchange.paid()
        if not self._exchange.counted() and not await self._sync():
            raise NoAnswer(name_of(command), stage)

    async def _sync(self) -> bool:
        self._exchange.doubt()
        # ATQ0V1 also ends silence and results in numbers, which another program may have left.
        for command in ("AT", "ATQ0V1", "AT"):
            self._exchange.write(b"\x1b\r")
            await self._quiet()
            if await self._answered(Transaction(command), command):
                await self._quiet()
                return await self._mark()
        return False

    async def _answered(self, asked: Transaction, command: str) -> bool:
        """Whether any final result came. Raises LineLost when the port is gone."""
        try:
            await self._ask(asked, command, self._timeouts.basic)
        except CommandFailed:
            return True
        except NoAnswer:
            return False
        except LineLost:
            if not self.is_open:
                raise
            return False  # it started anew: the next try will tell
        return True

    async def _mark(self) -> bool:
        """Ask what nothing else answers: all that comes before it was late.

        A modem that does not know the mark refuses it, or says a bare OK; from one that
        does, that OK was late too.
        """
        asked = Transaction("AT+CMEE?", mark=b"+CMEE:")
        if await self._answered(asked, "AT+CMEE?"):
            self._marks = True
        elif not asked.refused and (self._marks or not asked.bare):
            return False
        self._exchange.settled()
        return True

    async def _quiet(self) -> None:
        """Until nothing came for a moment, or a second is over: URCs may never end."""
        loop, exchange = asyncio.get_running_loop(), self._exchange
        begin = exchange.heard_at = loop.time()
        until = begin + _QUIET
        while loop.time() < min(until, begin + 1.0):
            await asyncio.sleep(until - loop.time())
            until = exchange.heard_at + _QUIET
