"""Errands to the process that owns a modem, over the store: lists, requests and answers, all sealed.

Each owner tells of its modems on the board (`board.py`), and takes requests from a list
of its own. Who asks waits for the answer, whose words have numbered keys of their own.
Publishing only wakes the owner early: it looks at its list each second anyway. All times
are the store's: two hosts' clocks may be minutes apart.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec
from msgspec import structs

from otpsvc.errors import (
    BadRequest,
    Busy,
    KeyringError,
    NotFound,
    RequestError,
    StoreUnavailable,
    Unanswered,
)
from otpsvc.keyring import Keyring
from otpsvc.lines import Answered, Line, named
from otpsvc.stores.board import TELL, Board, moment
from otpsvc.stores.redis import GLOBAL, RedisStore
from otpsvc.veiled import Veiled

#: Seconds that an errand may take in all: a network's USSD answer takes up to 30.
PATIENCE: Final = 45.0
#: The same for a text, with a failover and a doubt.
SENDING: Final = 190.0
#: Longest trace, in seconds.
TRACE_MAX: Final = 300.0
CHANNEL: Final = "otpsvc:errand"
#: Milliseconds that errands lie in a list: as long as any of them may be waited for, else a
#: short one takes those along that came before it, or the one that comes next.
LIFE: Final = int(max(PATIENCE, SENDING, TRACE_MAX) + 10) * 1000


class Errand(Veiled, frozen=True, kw_only=True):
    """`until`: seconds since the epoch after which nobody waits any more."""

    id: str
    kind: str
    channel: str
    name: str
    until: float
    code: str = ""
    to: str = ""
    text: str = ""
    reply: bool = False
    operator: bool = False
    seconds: float = 0.0


class Word(Veiled, frozen=True, kw_only=True):
    """One piece of an answer; `error` is a refusal's code word with its sentence in `text`."""

    last: bool = True
    text: str = ""
    error: str = ""
    status: int = 400
    answered: Answered | None = None


encode = msgspec.msgpack.Encoder().encode
read_errand = msgspec.msgpack.Decoder(Errand).decode
_word = msgspec.msgpack.Decoder(Word).decode


def inbox(node: str) -> str:
    return f"errand:{GLOBAL}:{node}"


def answer(id: str, at: int) -> str:
    """Of the `at`-th word. A key is read twice without harm, where a lost reply would lose a list's head."""
    return f"answer:{GLOBAL}:{id}:{at}"


def board(store: RedisStore, keyring: Keyring) -> Board[Line]:
    """Where owners tell of their modems."""
    return Board(store, keyring, "lines", Line)


class _Silent(Unanswered):
    """Nobody answered: whether it was done, nobody knows."""

    message = "The process that owns the modem did not answer in time."


class Errands:
    """`Lines` for every process. `patience` and `sending`: seconds that an errand and a text may take."""

    def __init__(
        self, store: RedisStore, keyring: Keyring, *, patience: float = PATIENCE, sending: float = SENDING
    ) -> None:
        self._store = store
        self._keyring = keyring
        self._board = board(store, keyring)
        self._patience = patience
        self._sending = sending

    async def lines(self) -> list[Line]:
        return sorted(_apart(await self._board.read()), key=lambda line: (line.channel, line.name))

    async def ussd(self, name: str, code: str, *, reply: bool = False, operator: bool = False) -> Answered:
        line = named(await self.lines(), name)
        asked = await self._errand(line, "ussd", self._patience, code=code, reply=reply, operator=operator)
        async for word in self._ask(line.node, asked, self._patience):
            if word.answered is not None:
                return word.answered
        raise Unanswered

    async def send(self, channel: str, name: str, to: str, text: str) -> str:
        lines = [line for line in await self.lines() if line.channel == channel]
        if name or not lines:
            line = named(lines, name)
        else:
            line = structs.replace(next((one for one in lines if one.ready), lines[0]), name="")
        asked = await self._errand(line, "send", self._sending, to=to, text=text)
        try:
            async for word in self._ask(line.node, asked, self._sending):
                return word.text
        except _Silent:
            return "uncertain: the process that owns the modem did not answer in time"
        raise Unanswered

    async def trace(self, name: str, seconds: float) -> AsyncIterator[str]:
        line, seconds = named(await self.lines(), name), min(seconds, TRACE_MAX)
        asked = await self._errand(line, "trace", seconds + 5, seconds=seconds)
        async for word in self._ask(line.node, asked, seconds + 5):
            if word.text:
                yield word.text

    async def _errand(self, line: Line, kind: str, patience: float, **more: Any) -> Errand:
        until = await moment(self._store) + patience
        return Errand(
            id=secrets.token_hex(12), kind=kind, channel=line.channel, name=line.name, until=until, **more
        )

    async def _ask(self, node: str, errand: Errand, patience: float) -> AsyncIterator[Word]:
        """The words of the answer. Raises: Unanswered, StoreUnavailable, or what the owner refused with."""
        sealed = self._keyring.seal(encode(errand), "errand", node)
        await self._store.call("RPUSH", inbox(node), sealed)
        # From here on it may be done: the store may go and come back, to ask anew is no way out.
        with contextlib.suppress(StoreUnavailable):
            await self._store.call("PEXPIRE", inbox(node), LIFE)
            await self._store.call("PUBLISH", CHANNEL, node)
        end, wait, at = time.monotonic() + patience, 0.02, 0
        while time.monotonic() < end:
            word = await self._said(errand, at)
            if word is None:
                await asyncio.sleep(wait)
                wait = min(wait * 1.5, 0.25)
                continue
            if word.error:
                raise _refusal(word)
            yield word
            if word.last:
                return
            at, wait = at + 1, 0.02
        raise _Silent

    async def _said(self, errand: Errand, at: int) -> Word | None:
        """The `at`-th word of its answer, once it is there."""
        try:
            raw = await self._store.call("GET", answer(errand.id, at))
        except StoreUnavailable:
            return None
        try:
            return _word(self._keyring.unseal(raw, "answer", errand.id, str(at))) if raw else None
        except (KeyringError, Busy, msgspec.DecodeError):
            # Of another keyring: who sealed it did what was asked for.
            raise _Silent("The answer cannot be read: the keyrings of the two processes differ.") from None


def _apart(lines: list[Line]) -> list[Line]:
    """Each modem once: a node that died is listed for a while, and one without the port tells of it too."""
    kept = []
    for line in lines:
        same = [one for one in lines if _is_same(one, line)]
        newest = max(one.told for one in same)

        def rank(one: Line, newest: float = newest) -> tuple[bool, bool, float, str]:
            return one.told > newest - 1.5 * TELL, one.ready, one.told, one.node

        if line is max(same, key=rank):
            kept.append(line)
    return kept


def _is_same(one: Line, other: Line) -> bool:
    alike = one.imei == other.imei or not one.imei or not other.imei
    return (one.channel, one.name) == (other.channel, other.name) and alike


def _refusal(word: Word) -> RequestError | Busy:
    """What the owner refused with, on this side."""
    if word.status == 503:
        return Unanswered(word.text)
    refused = NotFound(word.text) if word.status == 404 else BadRequest(word.text)
    refused.code = word.error
    return refused
