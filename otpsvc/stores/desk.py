"""The side of errands that owns modems: tells of them, and carries out what others ask for."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping
from types import TracebackType
from typing import Any, Final, Self, cast

import msgspec
from msgspec import structs

from otpsvc.address import canonical
from otpsvc.errors import (
    BadRequest,
    Busy,
    KeyringError,
    NotFound,
    RequestError,
    StoreUnavailable,
    Unanswered,
    Unavailable,
)
from otpsvc.keyring import Keyring
from otpsvc.lines import Line, Owner
from otpsvc.stores.board import TELL, Teller, moment
from otpsvc.stores.errand import (
    CHANNEL,
    TRACE_MAX,
    Errand,
    Word,
    answer,
    board,
    encode,
    inbox,
    read_errand,
)
from otpsvc.stores.listener import Listener
from otpsvc.stores.redis import RedisStore

_LOOK: Final = 1.0
_GAP: Final = 0.1
#: Milliseconds that a word of an answer is kept.
_WORD_LIFE: Final = 60_000
#: Errands at a time; more wait in the store.
MOST: Final = 64

_log = logging.getLogger(__name__)


class Desk:
    """The owner's side: tells of its modems and carries errands out, until closed.

    `owners` maps the channels of this process that have modems; it is asked each time. `gap`:
    seconds between two tellings while nothing changes.
    """

    def __init__(
        self,
        store: RedisStore,
        keyring: Keyring,
        owners: Callable[[], Mapping[str, Owner]],
        *,
        node: str,
        gap: float = TELL,
    ) -> None:
        self.node = node
        self._store = store
        self._keyring = keyring
        self._owners = owners
        self._teller = Teller(board(store, keyring), node, self._lines, gap=gap)
        self._due = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._errands: set[asyncio.Task[None]] = set()
        #: A lost reply of the store may bring an errand twice; it is run once.
        self._seen: deque[str] = deque(maxlen=256)
        self._listener = Listener(store.connector, CHANNEL, self._heard)

    async def __aenter__(self) -> Self:
        self._listener.start()
        await self._teller.__aenter__()
        _begin(self._serve(), self._tasks)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._listener.close()
        tasks = [*self._tasks, *self._errands]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._teller.__aexit__(kind, error, trace)

    def _heard(self, payload: bytes) -> None:
        if payload.decode("latin-1") == self.node:
            self._due.set()

    def hurry(self) -> None:
        """Something changed: tell of it now rather than in a while."""
        self._teller.hurry()

    async def tell(self) -> None:
        """Tell of all modems now. Raises: StoreUnavailable."""
        await self._teller.tell()

    async def _lines(self) -> list[Line] | None:
        owners = self._owners()
        told = [
            structs.replace(line, channel=name)
            for name, owner in owners.items()
            for line in await owner.lines()
        ]
        return told if owners else None

    async def _serve(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK):
                    await self._due.wait()
            self._due.clear()
            with contextlib.suppress(StoreUnavailable):
                await self._take_all()

    async def _take_all(self) -> None:
        while self._owners() and len(self._errands) < MOST:
            # Read, taken, and only then removed: a pop whose reply was lost would lose the errand.
            raw = await self._store.call("LINDEX", inbox(self.node), 0)
            if raw is None:
                return
            self._take(raw, await moment(self._store))
            await self._store.call("LREM", inbox(self.node), 1, raw)

    def _take(self, raw: bytes, now: float) -> None:
        try:
            errand = read_errand(self._keyring.unseal(raw, "errand", self.node))
        except (KeyringError, Busy, msgspec.DecodeError):
            return
        if errand.until > now and errand.id not in self._seen:
            self._seen.append(errand.id)
            _begin(self._run(errand, errand.until - now), self._errands)

    async def _run(self, errand: Errand, patience: float) -> None:
        reply = _Reply(self._store, self._keyring, errand.id, patience)
        try:
            await self._carry_out(errand, reply)
        except RequestError as error:
            status = 404 if isinstance(error, NotFound) else 400
            await reply.say(Word(error=error.code, text=error.message, status=status))
        except Busy as error:
            await reply.say(Word(error=error.code, text=error.message, status=503))
        except asyncio.CancelledError as cut:
            await reply.say_once(_stopped(errand, unsent=isinstance(cut.__cause__, Unavailable)))
            raise
        except Exception as bug:  # noqa: BLE001 - who asked must not wait for nothing
            _log.error("an errand failed: %s", type(bug).__name__)
            await reply.say(_failed(errand))

    async def _carry_out(self, errand: Errand, reply: _Reply) -> None:
        owner = self._owners().get(errand.channel)
        if owner is None:
            raise NotFound("There is no such modem.", code="unknown_modem")
        if errand.kind == "ussd":
            answered = await owner.ussd(
                errand.name, errand.code, reply=errand.reply, operator=errand.operator
            )
            await reply.say(Word(answered=answered))
        elif errand.kind == "send":
            dest = self._keyring.digest("dest", canonical(owner.address.parse(errand.to)))
            if (await self._store.barred([dest]))[0]:
                raise BadRequest("Nothing is sent to this address: it is blocked.", code="blocked")
            said = await owner.send_by(errand.name, errand.to, errand.text)
            await reply.say(Word(text=said))
        elif errand.kind == "trace":
            tracing = cast("AsyncGenerator[str]", owner.trace(errand.name, min(errand.seconds, TRACE_MAX)))
            # Whatever ends it, it is left off at once.
            async with contextlib.aclosing(tracing) as texts:
                async for text in texts:
                    await reply.say(Word(text=text, last=False))
            await reply.say(Word())


class _Reply:
    """The answer to one errand, word by word. `patience`: seconds for which somebody waits for it."""

    def __init__(self, store: RedisStore, keyring: Keyring, id: str, patience: float) -> None:
        self._store = store
        self._keyring = keyring
        self._id = id
        self._tries = max(1, int(patience / _GAP))
        self._at = 0

    async def say(self, word: Word) -> None:
        """Say it as soon as the store is there: what was done must not look as if it was not."""
        for _ in range(self._tries):
            if await self.say_once(word):
                return
            await asyncio.sleep(_GAP)

    async def say_once(self, word: Word) -> bool:
        """False: the store is away."""
        sealed = self._keyring.seal(encode(word), "answer", self._id, str(self._at))
        try:
            await self._store.call("SET", answer(self._id, self._at), sealed, "PX", _WORD_LIFE)
        except StoreUnavailable:
            return False
        self._at += 1
        return True


def _begin(run: Any, tasks: set[asyncio.Task[None]]) -> None:
    task = asyncio.create_task(run)
    tasks.add(task)
    task.add_done_callback(tasks.discard)


def _stopped(errand: Errand, *, unsent: bool) -> Word:
    """The last word of an errand that was cut off because this process ends."""
    words = "The process that owns the modem was stopped."
    if errand.kind == "send" and not unsent:
        return Word(text="uncertain: the process that owns the modem was stopped")
    return Word(error=Unanswered.code, text=words, status=503)


def _failed(errand: Errand) -> Word:
    """The same of one that came upon a bug."""
    if errand.kind == "send":
        return Word(text="uncertain: the process that owns the modem failed")
    return Word(error=Unanswered.code, text="The process that owns the modem failed.", status=503)
