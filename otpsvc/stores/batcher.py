"""Commands of one event-loop tick travel to the store as one batch over one connection (D4).

    call() ─> queue ─> _flush: pack, write ─> flying ─> _answered: replies, in order
                ^                               │
                └── may run twice: once more ───┘ connection lost or silent

One batch is on its way at a time; what is asked meanwhile makes the next one.
A caller that is cancelled keeps its place among the replies. Every caller is
answered within `timeout` seconds, whatever the store does. Never send commands
that block (BLPOP, XREAD BLOCK): everybody would wait.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

import hiredis

from otpsvc.errors import StoreUnavailable
from otpsvc.stores.connection import Connector
from otpsvc.stores.listener import Listener
from otpsvc.stores.wire import (
    DEMOTED,
    LOST,
    MISSING,
    PASSING,
    RUN_ID,
    Arg,
    Call,
    ErrorReply,
    Script,
    StoreError,
    Wire,
    ended,
)

__all__ = ["RUN_ID", "Arg", "Batcher", "ErrorReply", "Listener", "Script", "StoreError"]

#: Seconds from a call to its answer.
TIMEOUT: Final = 0.9
#: Without a byte for this part of that time, from a store that owes answers, the connection is given up.
SILENCE: Final = 0.5
#: Commands in one batch; more wait for the next.
BATCH: Final = 512
#: Seconds between two looks at the clock, while anything is waiting.
TICK: Final = 0.025
#: A look that comes this many seconds late: this process was stopped, what it reads comes first.
BLOCKED: Final = 0.1
#: Least seconds from one attempt to connect to the next.
PAUSE: Final = 0.05

_LATE: Final = "the store did not answer in time"
_CLOSED: Final = "the store is closed"
_pack: Final[Callable[..., bytes]] = hiredis.pack_command


class Batcher:
    """The one way to the store for a whole process. Connects when it is called, again when needed."""

    def __init__(self, connector: Connector, *, timeout: float = TIMEOUT) -> None:
        """`timeout`: seconds from a call to its answer."""
        self._connector = connector
        self._timeout = timeout
        self._silence = timeout * SILENCE
        self._queue: deque[Call] = deque()
        self._wire: Wire | None = None
        self._scheduled = False
        self._connecting: asyncio.Task[None] | None = None
        self._not_before = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._next_look = 0.0
        #: Scripts that the server has lost, to be loaded before the next batch.
        self._missing: dict[str, Script] = {}
        self._closed = False

    @property
    def run_id(self) -> bytes:
        """The run id of the server that is connected now; empty when none is."""
        return self._wire.run_id if self._wire else b""

    async def call(self, *args: Arg, repeatable: bool = False) -> Any:
        """Run one command; `repeatable` allows to send it once more when its answer was lost.

        Raises: StoreUnavailable (StoreError for a refusal that is a bug).
        """
        return await self._enqueue(args, repeatable, None)

    async def script(
        self, script: Script, keys: Sequence[Arg], args: Sequence[Arg] = (), *, repeatable: bool = False
    ) -> Any:
        """Run a script by its digest, loading it where the server has lost it.

        `repeatable`: the script reads only, or knows an operation id again.
        Raises: StoreUnavailable (StoreError for a refusal that is a bug).
        """
        command = ("EVALSHA", script.sha1, len(keys), *keys, *args)
        return await self._enqueue(command, repeatable, script)

    def _enqueue(self, args: tuple[Arg, ...], repeatable: bool, script: Script | None) -> asyncio.Future[Any]:
        if self._closed:
            raise StoreUnavailable(_CLOSED)
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self._queue.append(Call(args, future, loop.time() + self._timeout, repeatable, script))
        if not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._flush)
        return future

    def _repeat(self, wire: Wire) -> None:
        """Put back, before all others, what has to be written again."""
        self._queue.extendleft(reversed(wire.again))
        wire.again.clear()
        self._schedule()

    def _schedule(self) -> None:
        if self._queue and not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        """Write the next batch, unless one is on its way or nobody waits any more."""
        self._scheduled = False
        self._watch()
        wire = self._wire
        if wire is None:
            self._connect()
        elif not wire.flying and (packed := self._pack(wire)):
            wire.write(packed)

    def _pack(self, wire: Wire) -> list[bytes]:
        queue, flying = self._queue, wire.flying
        packed = self._pack_missing(wire) if self._missing else []
        while queue and len(packed) < BATCH:
            call = queue.popleft()
            if call.future.done():
                continue
            try:
                packed.append(_pack(call.args_for(wire.run_id)))
            except StoreError as error:
                call.fail(error)
            except Exception as error:  # noqa: BLE001 - an argument of a wrong type hurts its caller alone
                call.fail(TypeError(f"cannot pack an argument of {call.where}: {type(error).__name__}"))
            else:
                flying.append(call)
        return packed

    def _pack_missing(self, wire: Wire) -> list[bytes]:
        loop = asyncio.get_running_loop()
        packed = []
        for script in self._missing.values():
            answer = loop.create_future()
            # Nobody waits for it: the script's own call tells whether it helped.
            answer.cancel()
            wire.flying.append(Call(("SCRIPT",), answer, 0.0, False, script))
            packed.append(_pack(("SCRIPT", "LOAD", script.source)))
        self._missing.clear()
        return packed

    def _answered(self, wire: Wire) -> None:
        """Give the replies that came to those who wait; start the next batch after the last."""
        flying, gets = wire.flying, wire.reply
        while flying:
            reply = gets()
            if reply is MISSING:
                return
            call = flying.popleft()
            if type(reply) is ErrorReply:
                self._refused(wire, call, reply)
            elif not call.future.done():
                call.future.set_result(reply)
        if wire.demoted:
            self._drop(wire, PASSING["READONLY"])
        elif gets() is not MISSING:
            # A reply that nobody asked for would shift all later ones.
            self._drop(wire, LOST)
        self._repeat(wire)

    def _refused(self, wire: Wire, call: Call, reply: ErrorReply) -> None:
        """Tell the caller, or put the call back: neither refusal changed anything."""
        demoted = reply.word in DEMOTED
        wire.demoted |= demoted
        if call.future.done():
            return
        if reply.word == "NOSCRIPT" and call.script and not call.loaded:
            call.loaded = True
            self._missing[call.script.sha1] = call.script
            wire.again.append(call)
        elif demoted and not call.again:
            call.again = True
            wire.again.append(call)
        else:
            call.fail(reply.as_error(call.where))

    def _drop(self, wire: Wire, phrase: str) -> None:
        """Hang up; what may have run fails, unless it may run twice and did not yet."""
        if wire is not self._wire:
            return
        self._wire = None
        wire.transport.abort()
        for call in wire.flying:
            if call.repeatable and not call.again and not call.future.done():
                call.again = True
                wire.again.append(call)
            else:
                call.fail(StoreUnavailable(phrase))
        wire.flying.clear()
        self._repeat(wire)

    def _connect(self) -> None:
        if self._connecting is None and self._queue and not self._closed:
            self._connecting = asyncio.get_running_loop().create_task(self._open())

    async def _open(self) -> None:
        """Connect for everyone who waits; without success all of them are told."""
        loop = asyncio.get_running_loop()
        try:
            await asyncio.sleep(self._not_before - loop.time())
            self._not_before = loop.time() + PAUSE
            line = await self._connector.open()
            self._wire = Wire(line.run_id, line.detach(), self._answered, self._drop)
        except StoreUnavailable as error:
            self._give_up(str(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, callers must not wait for it
            self._give_up(f"connecting to the store failed: {type(error).__name__}")
        finally:
            self._connecting = None
        self._schedule()

    def _give_up(self, phrase: str) -> None:
        while self._queue:
            self._queue.popleft().fail(StoreUnavailable(phrase))

    def _watch(self) -> None:
        """Look at the clock soon, if anybody waits and no look is due already."""
        if self._timer is None and (self._queue or (self._wire and self._wire.flying)):
            loop = asyncio.get_running_loop()
            self._next_look = loop.time() + TICK
            self._timer = loop.call_later(TICK, self._look)

    def _look(self) -> None:
        """Answer those whose time is over, and give up a connection that has fallen silent."""
        self._timer = None
        now = asyncio.get_running_loop().time()
        if now - self._next_look < BLOCKED:
            wire = self._wire
            if wire and wire.flying:
                self._expire(wire.flying, now)
                if now - wire.heard > self._silence:
                    self._drop(wire, _LATE)
            self._expire(self._queue, now)
        self._watch()

    @staticmethod
    def _expire(calls: deque[Call], now: float) -> None:
        """Oldest first. They stay where they are: a reply that still comes is theirs."""
        for call in calls:
            if call.deadline > now:
                break
            call.fail(StoreUnavailable(_LATE))

    async def close(self) -> None:
        """Hang up; whoever still waits gets StoreUnavailable. Safe to call twice."""
        self._closed = True
        if self._connecting:
            await ended(self._connecting)
        wire = self._wire
        if wire:
            self._drop(wire, _CLOSED)
        self._give_up(_CLOSED)
        if wire:
            await wire.closed
