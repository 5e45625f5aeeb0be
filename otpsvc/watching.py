"""Where the messages of a feeder's commands are, for its broker: each state is told, to the end.

    watch ─> looks, ever rarer ─> next ─> told: noted, or forgotten at the end

What was told last of each message is kept in the store, sealed, so that another process
goes on where this one ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from itertools import islice
from math import ceil
from typing import Final, get_args

import msgspec
import structlog
from msgspec import Struct

from otpsvc.challenge import RAW, MessageRecord
from otpsvc.errors import Busy, KeyringError, StoreUnavailable
from otpsvc.feeder import Note, State
from otpsvc.keyring import Keyring
from otpsvc.store import Store
from otpsvc.submit import LIFE_MAX
from otpsvc.tenant import Tenant
from otpsvc.veiled import Veiled

#: Seconds between two looks at a message whose state stays the same; the last one repeats.
WAITS: Final = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
#: A message of an earlier run is looked at once, and from then on as after so many looks.
RESUMED: Final = 3
#: Looks fall together, so that many messages are read at once: on these parts of a second, and
#: on whole seconds after waits that are `LONG`.
QUICK, SLOW, LONG = 0.05, 1.0, 4.0
#: Messages read in one round trip.
AT_ONCE: Final = 500
#: Messages watched for one feeder; the oldest go when there are more.
MOST: Final = 10_000
#: Milliseconds: no record of a raw message lives longer.
LIFE: Final = (LIFE_MAX + 86_400) * 1000
#: Seconds without a look, after which another node may have told in between.
GAP: Final = 5.0
#: Seconds between two equal log lines.
AGAIN: Final = 60.0
ENDS: Final = frozenset({"delivered", "failed", "expired", "refused"})
_STATES: Final[dict[str, State]] = {state: state for state in get_args(State)}
_log = structlog.get_logger("otpsvc.feeders")


class _Told(Veiled, frozen=True):
    """What was told last of a message: by which id, and its state."""

    id: str
    state: State


class _Watch(Struct):
    """A message between two looks. `due` by the loop's clock."""

    told: _Told
    due: float = 0.0
    looks: int = 0


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Told).decode


async def set_within(event: asyncio.Event, seconds: float | None) -> None:
    """Wait for an event, but no longer."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


class Watching:
    """The notes of one feeder, for one consumer: what was not told comes again to the next who asks.

    `waits` as `WAITS`; `pause`: seconds until a store that is away is asked again.
    """

    def __init__(
        self,
        name: str,
        *,
        store: Store,
        keyring: Keyring,
        tenant: Callable[[], Tenant],
        waits: Sequence[float] = WAITS,
        pause: float = 1.0,
    ) -> None:
        self._name = name
        self._store = store
        self._keyring = keyring
        self._tenant = tenant
        self._waits = waits
        self._pause = pause
        self._watches: dict[str, _Watch] = {}
        self._looks: list[tuple[float, str]] = []
        #: To be told, the oldest first.
        self._news: dict[str, Note] = {}
        self._stirred = asyncio.Event()
        self._looked = 0.0
        self._stale = True
        self._warned = -AGAIN

    async def watch(self, notes: Sequence[Note]) -> None:
        """As `News.watch`. Raises: StoreUnavailable."""
        told = {note.message: _Told(note.id, note.status) for note in notes if _goes_on(note)}
        if not told:
            return
        sealed = [(n, self._seal(n, one)) for n, one in told.items()]
        await self._store.watch(self._tenant().name, self._name, sealed, life=LIFE, most=MOST)
        for n, one in told.items():
            self._begin(n, one)
        if len(self._watches) > MOST:
            self._crowd()

    def _crowd(self) -> None:
        """As the store did."""
        for n in list(islice(self._watches, len(self._watches) - MOST)):
            self._forget(n)
        moment = asyncio.get_running_loop().time()
        if moment - self._warned >= AGAIN:
            self._warned = moment
            _log.warning(
                "too many messages to tell of, the oldest are left out", feeder=self._name, most=MOST
            )

    async def next(self) -> Note:
        """As `News.next_note`."""
        loop = asyncio.get_running_loop()
        self._stale = self._stale or loop.time() - self._looked > GAP
        try:
            while self._stale or not self._news:
                try:
                    await self._look()
                except StoreUnavailable:
                    await asyncio.sleep(self._pause)
        except asyncio.CancelledError:
            # The line was lost; until it is there again another node may have told.
            self._stale = True
            raise
        finally:
            self._looked = loop.time()
        return next(iter(self._news.values()))

    async def told(self, note: Note) -> None:
        """As `News.told_note`. Raises: StoreUnavailable."""
        n, told = note.message, _Told(note.id, note.status)
        sealed = self._seal(n, told) if _goes_on(note) else b""
        await self._store.rewatch(self._tenant().name, self._name, n, sealed)
        if not sealed:
            self._forget(n)
        elif n in self._watches:
            self._begin(n, told)

    def _begin(self, n: str, told: _Told, *, looks: int = 0) -> None:
        """Watch it from now on; this was told last."""
        self._news.pop(n, None)
        self._watches[n] = _Watch(told, looks=looks)
        self._look_in(n, 0.0 if looks else self._waits[0])
        self._stirred.set()

    def _forget(self, n: str) -> None:
        self._watches.pop(n, None)
        self._news.pop(n, None)

    def _look_in(self, n: str, wait: float) -> None:
        grid = SLOW if wait >= LONG else QUICK
        due = ceil((asyncio.get_running_loop().time() + wait) / grid) * grid
        self._watches[n].due = due
        heappush(self._looks, (due, n))

    async def _look(self) -> None:
        """At those whose time has come; or wait until it has. Raises: StoreUnavailable."""
        if self._stale:
            await self._resume()
        self._stirred.clear()
        if due := self._due():
            await self._compare(due)
        else:
            wait = self._looks[0][0] - asyncio.get_running_loop().time() if self._looks else None
            await set_within(self._stirred, wait)

    def _due(self) -> list[str]:
        """Which to look at now, at most `AT_ONCE`; their looks are taken off the list."""
        found: list[str] = []
        until = asyncio.get_running_loop().time()
        while self._looks and len(found) < AT_ONCE:
            due, n = self._looks[0]
            watch = self._watches.get(n)
            planned = watch is not None and watch.due == due and n not in self._news
            if planned and due > until:
                break
            heappop(self._looks)
            if planned:
                found.append(n)
        return found

    async def _compare(self, ns: list[str]) -> None:
        tenant, looked = self._tenant().name, [self._watches[n] for n in ns]
        try:
            records = await self._store.messages(tenant, ns)
        except BaseException:
            for n in self._watches.keys() & ns:
                self._look_in(n, self._waits[0])
            raise
        gone = []
        for n, watch, record in zip(ns, looked, records, strict=True):
            if self._watches.get(n) is not watch:
                # Watched anew meanwhile, from a later state perhaps.
                continue
            if record is None or record.kind != RAW:
                gone.append(n)
                self._forget(n)
            else:
                self._note(n, watch, record)
        # Their own time is over, and so is that of their watches.
        await asyncio.gather(*(self._store.rewatch(tenant, self._name, n, b"") for n in gone))

    def _note(self, n: str, watch: _Watch, record: MessageRecord) -> None:
        state = _STATES[record.message_state]
        if state == watch.told.state:
            watch.looks += 1
            self._look_in(n, self._waits[min(watch.looks, len(self._waits) - 1)])
        else:
            error = _word(record.reason or state) if state in ("failed", "expired") else ""
            self._news[n] = Note(id=watch.told.id, message=n, status=state, error=error)

    async def _resume(self) -> None:
        """Take up what is watched: this process may be new, or another one told in between."""
        before = set(self._watches)
        kept = await self._store.watched(self._tenant().name, self._name)
        self._stale = False
        for n in before.difference(n for n, _ in kept):
            self._forget(n)
        for at, (n, sealed) in enumerate(kept):
            told, watch = self._unsealed(n, sealed), self._watches.get(n)
            if told and not (watch and watch.told == told):
                self._begin(n, told, looks=RESUMED)
            if at % AT_ONCE == AT_ONCE - 1:
                # Others run in this process too.
                await asyncio.sleep(0)

    def _seal(self, n: str, told: _Told) -> bytes:
        return self._keyring.seal(_encode(told), "watch", self._tenant().name, self._name, n)

    def _unsealed(self, n: str, sealed: bytes) -> _Told | None:
        try:
            return _decode(self._keyring.unseal(sealed, "watch", self._tenant().name, self._name, n))
        except (Busy, KeyringError, msgspec.DecodeError):
            return None


def _goes_on(note: Note) -> bool:
    """Whether there may be later news of it."""
    return bool(note.message) and note.status not in ENDS


def _word(reason: str) -> str:
    """A reason as one word: `not delivered` is `not_delivered`."""
    return re.sub("[^a-z0-9]+", "_", reason.lower()).strip("_")
