"""A feeder's news over a store of either kind, and a loop in which waiting takes no time."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from otpsvc.challenge import MessageRecord
from otpsvc.errors import StoreUnavailable
from otpsvc.feeder import FeederConfig, News, Note, Text
from otpsvc.forwarding import Forwarding
from otpsvc.inbox import Inbox, Keep
from otpsvc.keyring import Keyring
from otpsvc.message import Incoming, MessageState
from otpsvc.store import Kept, Store
from otpsvc.stores.memory import MemoryStore
from tests.far_ends.valkey import ValkeyServer
from tests.flows.rig import new_key, tenant
from tests.stores.places import MemoryPlace, Place, RedisPlace
from tests.stores.steps import SHOP, claim_batch, enqueue, finish
from tests.waiting import PATIENCE, until

T = TypeVar("T")
INDEX = b"i" * 32
PATTERN = r"\b(\d{4,8})\b"
SENDER, TEXT, ID = "+628119876543", "planted words 472913", "planted-id-of-alice"


class CodeConfig(FeederConfig, frozen=True, kw_only=True):
    """As the MQTT feeder's."""

    extract_code: bool = True
    code_pattern: str = PATTERN


class Looking(Forwarding):
    """Counts its looks for texts that the store answered."""

    looks = 0

    async def _oldest(self) -> Text | None:
        found = await super()._oldest()
        self.looks += 1
        return found


class Rig:
    """`forwarding()` is a new process each time; all are on one store."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.store = place.store
        self.keyring = Keyring(INDEX, [new_key()])
        self.config = FeederConfig(type="mqtt", tenant=SHOP)

    def forwarding(self, name: str = "mqtt", **more: Any) -> Looking:
        usual: dict[str, Any] = {
            "config": self.config,
            "store": self.place.node(),
            "keyring": self.keyring,
            "tenant": lambda: tenant(SHOP),
            "poll": 0.02,
            "waits": (0.01, 0.05),
        }
        return Looking(name, **(usual | more))

    async def seen(self, name: str = "mqtt", **more: Any) -> Looking:
        """A feeder that was there before all texts."""
        made = self.forwarding(name, **more)
        await self.store.unread(SHOP, name)
        return made

    async def keep(self, *ids: str, **more: Any) -> None:
        inbox = Inbox(self.store, self.keyring, Keep())
        for id in ids:
            usual = {"id": id, "line": "sms.m1", "sender": SENDER, "text": f"{TEXT} {id}", "tenant": SHOP}
            assert await inbox.take(Incoming(**(usual | more)))

    async def watched(self, news: Forwarding, *ns: str) -> None:
        """Queue these messages, as some frame asked for, and watch them."""
        for n in ns:
            assert await enqueue(self.store, n) == "queued"
        await news.watch([Note(id=f"{ID} {n}", message=n, status="queued") for n in ns])

    async def send(self, *ns: str, state: MessageState = MessageState.SENT, reason: str = "") -> None:
        """What is queued is sent, or fails; without names only claimed."""
        for claimed in (await claim_batch(self.store, "sms", "message", limit=10_000)).taken:
            if claimed.n in ns:
                assert await finish(self.store, claimed, state, reason=reason) == "ok"

    async def report(self, n: str, *, ok: bool = True) -> None:
        assert await self.store.report(SHOP, "m" + n, gen=b"", sends=0, ok=ok) == "ok"


class Trouble(MemoryStore):
    """Does not answer the next `times` steps of this name; counts all of them."""

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__(now)
        self.times: dict[str, int] = {}
        self.asked: dict[str, int] = {}

    def _step(self, name: str) -> None:
        self.asked[name] = self.asked.get(name, 0) + 1
        if self.times.get(name, 0) > 0:
            self.times[name] -= 1
            raise StoreUnavailable

    async def unread(self, scope: str, feeder: str, *, limit: int = 1) -> list[Kept]:
        self._step("unread")
        return await super().unread(scope, feeder, limit=limit)

    async def advance(self, scope: str, feeder: str, id: str) -> None:
        self._step("advance")
        await super().advance(scope, feeder, id)

    async def arrivals(self, scope: str) -> int:
        self._step("arrivals")
        return await super().arrivals(scope)

    async def messages(self, tenant: str, ns: Sequence[str]) -> list[MessageRecord | None]:
        self._step("messages")
        return await super().messages(tenant, ns)

    async def watched(self, tenant: str, feeder: str) -> list[tuple[str, bytes]]:
        self._step("watched")
        return await super().watched(tenant, feeder)

    async def rewatch(self, tenant: str, feeder: str, n: str, sealed: bytes) -> None:
        self._step("rewatch")
        await super().rewatch(tenant, feeder, n, sealed)


class TroubledPlace(MemoryPlace):
    def __init__(self) -> None:
        super().__init__()
        self.trouble = Trouble(lambda: self.time)
        self.store: Store = self.trouble


@asynccontextmanager
async def a_rig(kind: str) -> AsyncIterator[Rig]:
    """On a store in memory, or on a server of its own."""
    if kind == "memory":
        yield Rig(MemoryPlace())
        return
    with ValkeyServer() as server:
        place = RedisPlace(server.path, server.restart)
        yield Rig(place)
        await place.close()


async def soon(waiting: Awaitable[T]) -> T:
    return await asyncio.wait_for(waiting, PATIENCE)


async def next_told(news: News) -> Text:
    text = await soon(news.next_text())
    await news.told_text(text)
    return text


async def next_note_told(news: News) -> tuple[str, str, str]:
    """The next note, told: message, status, error."""
    note = await soon(news.next_note())
    await news.told_note(note)
    return note.message, note.status, note.error


async def nothing_new(waiting: Awaitable[Any], looked: Callable[[], object] = lambda: True) -> bool:
    """True when it still waits after several looks. It can only be wrong in favour of the code.

    `looked`: what must have happened by then, where the test goes on from it.
    """
    task = asyncio.ensure_future(waiting)
    await until(lambda: looked() or task.done())
    done, left = await asyncio.wait([task], timeout=0.3)
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    return not done


class _Skips(selectors.SelectSelector):
    """Nobody waits: the clock of the loop goes on by as much."""

    skipped = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        assert timeout is not None, "nothing would ever happen any more"
        self.skipped += max(0.0, timeout)
        return super().select(0)


class SkippingLoop(asyncio.SelectorEventLoop):
    """For what has no line open: hours go by in a moment."""

    def __init__(self) -> None:
        self.skips = _Skips()
        super().__init__(self.skips)

    def time(self) -> float:
        return self.skips.skipped


def run_skipping(main: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=SkippingLoop) as runner:
        return runner.run(main)
