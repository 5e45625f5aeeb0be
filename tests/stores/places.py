"""Where the stores of the contract test keep their data, and what a test may do to it from outside.

Time cannot be moved on in a real server; instead, all that it keeps is made older by as much.
"""

from __future__ import annotations

import copy
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import redis

from otpsvc.challenge import HEAD, MESSAGE_HEAD, VERSION
from otpsvc.errors import StoreUnavailable
from otpsvc.store import Store
from otpsvc.stores.memory import MemoryStore
from otpsvc.stores.redis import RedisStore
from tests.waiting import PATIENCE, until

#: Where `created` stands in a challenge's record, and the three times in a message's.
CREATED_AT = struct.calcsize("<BBBBB4s16s16s16s")
TIMES_AT = struct.calcsize("<BBBBBBH")
#: Keys that may live without a TTL: one clock a tenant, check values of keys, queues
#: (whose entries go when they are claimed), block lists (until somebody unblocks), and PINs
#: that a SIM refused: one key each, forgotten only when that PIN was right.
ENDLESS = ("clock:", "meta:", "due:", "block:", "gsm:{*}:pin:")


class Place(Protocol):
    """What both kinds can do. `store` is the node that most tests use."""

    store: Store

    def advance(self, seconds: float) -> None:
        """Let time go by."""

    def set_back(self, seconds: float) -> None:
        """Somebody sets the store's clock back."""

    def restart(self) -> None:
        """The server is killed and comes back with what it keeps."""

    def contents(self) -> object:
        """All that is kept, apart from the clocks: equal when nothing changed."""

    def endless(self) -> list[str]:
        """Keys that would live for ever and must not."""

    def node(self) -> Store:
        """Another process on the same store."""


class MemoryPlace:
    """A memory store and its clock."""

    def __init__(self, *, fenced: bool = False) -> None:
        self.time = 1_800_000_000.0
        self.store: Store = MemoryStore(lambda: self.time, fenced=fenced)

    @property
    def _memory(self) -> MemoryStore:
        assert isinstance(self.store, MemoryStore)
        return self.store

    def advance(self, seconds: float) -> None:
        self.time += seconds

    def set_back(self, seconds: float) -> None:
        self.time -= seconds

    def restart(self) -> None:
        self._memory.restart()

    def contents(self) -> object:
        kept = {}
        for name, space in self._memory._spaces.items():
            parts = (space.challenges, space.parcels, space.delivered, space.wrong, space.sends)
            onces = (space.onces._entries, space.raw_onces._entries)
            lists = (space.blocks, space.inbox._texts, space.inbox._places, space.inbox.arrivals)
            feeds = (space.firsts._entries, {name: held._watches for name, held in space.watches.items()})
            kept[name] = [part._entries for part in parts], onces, lists, feeds, space._queues
        return copy.deepcopy((kept, self._memory._guards._entries, self._memory._leases._entries))

    def endless(self) -> list[str]:
        return []

    def node(self) -> Store:
        return self.store


class RedisPlace:
    """`path`: the server's unix socket; `restart` kills it and starts it again on the same data."""

    def __init__(self, path: str, restart: Callable[[], None], *, fenced: bool = False) -> None:
        self._url = f"unix://{path}"
        self._fenced = fenced
        self._restart = restart
        self._ahead = 0.0
        self.ask = redis.Redis(unix_socket_path=path, socket_timeout=PATIENCE)
        self.ask.flushall()
        self._stores: list[RedisStore] = []
        self.store = self.node()

    def node(self) -> Store:
        made = RedisStore(
            self._url,
            fenced=self._fenced,
            # None of these tests is about the time limit: a busy machine shall not reach it.
            timeout=PATIENCE,
            monotonic=lambda: time.monotonic() + self._ahead,
        )
        self._stores.append(made)
        return made

    async def close(self) -> None:
        for store in self._stores:
            await store.close()
        self.ask.close()

    def set_back(self, seconds: float) -> None:
        """Our own monotonic clock runs ahead instead, which looks the same from here."""
        self._ahead += seconds

    def gain(self, seconds: float, more: float) -> None:
        """Time goes by, and our monotonic clock shows `more` seconds more of it than the store's."""
        self.advance(seconds)
        self._ahead += seconds + more
        # `advance` moves what is kept, not the store's clock: what we know of that has to move along.
        for store in self._stores:
            for tenant, known in store._clocks.items():
                store._clocks[tenant] = known._replace(ahead=known.ahead - seconds * 1000)

    def highest(self) -> float:
        """The highest time (ms) that the store saw for the shop."""
        (high,) = struct.unpack_from("<d", self._clock())
        return float(high)

    def set_highest(self, high: float) -> None:
        self.ask.set("clock:{shop}", struct.pack("<d", high) + self._clock()[8:])

    def _clock(self) -> bytes:
        raw: Any = self.ask.get("clock:{shop}")
        assert isinstance(raw, bytes)
        return raw

    def restart(self) -> None:
        self.ask.save()
        self.ask.close()
        self._restart()

    def contents(self) -> object:
        keys = [key for key in self.all_keys() if not key.startswith(b"clock:")]
        return {key: self.ask.dump(key) for key in sorted(keys)}

    def endless(self) -> list[str]:
        return [
            key.decode("latin-1")
            for key in self.all_keys()
            if self.ask.pttl(key) == -1 and not key.decode("latin-1").startswith(ENDLESS)
        ]

    def ttl(self, pattern: str) -> float:
        """Seconds that the one key of this pattern still lives."""
        [key] = self.all_keys(pattern)
        return float(self.ask.pttl(key)) / 1000

    def all_keys(self, pattern: str = "*") -> list[bytes]:
        # Not SCAN, which may name a key twice.
        found: Any = self.ask.keys(pattern)
        return list(found)

    def scores(self, key: bytes | str) -> list[tuple[bytes, float]]:
        """The members of a sorted set."""
        found: Any = self.ask.zrange(key, 0, -1, withscores=True)
        return list(found)

    def advance(self, seconds: float) -> None:
        ms = int(seconds * 1000)
        # The time of a key may end by itself meanwhile: nothing here makes one anew.
        for key in self.all_keys():
            kind = key.split(b":")[0]
            if kind in (b"due", b"inbox") or b":since:" in key:
                for member, score in self.scores(key):
                    self.ask.zadd(key, {member: score - ms}, xx=True)
            if key.endswith(b":places"):
                self._move_places(key, -ms)
            if kind in (b"otp", b"msg", b"guard", b"clock") and (raw := self.ask.get(key)) is not None:
                self.ask.set(key, _older(kind, raw, ms), keepttl=True, xx=True)
            left: Any = self.ask.pttl(key)
            if left > 0:
                self.ask.pexpire(key, left - ms)

    def _move_places(self, key: bytes | str, ms: int) -> None:
        """What feeders were told was told as much later, or earlier."""
        found: Any = self.ask.hgetall(key)
        for feeder, place in found.items():
            if feeder != b"#" and float(place):
                self.ask.hset(key, feeder, f"{float(place) + ms:.0f}")

    def misdate_texts(self, seconds: float, scope: str) -> None:
        """As if the clock had been ahead when the texts of this scope came in.

        The clock itself cannot be set; this looks the same from there.
        """
        for id, at in self.scores(f"inbox:{{{scope}}}"):
            self.ask.zadd(f"inbox:{{{scope}}}", {id: at + seconds * 1000})
        self._move_places(f"feeder:{{{scope}}}:places", int(seconds * 1000))


async def answering(store: Store) -> Store:
    """The store, once it is connected again after a restart."""

    async def answers() -> bool:
        try:
            return await store.ping() == "ok"
        except StoreUnavailable:
            return False

    await until(answers)
    return store


def _older(kind: bytes, raw: Any, ms: int) -> bytes:
    """A stored value whose times are `ms` milliseconds earlier."""
    assert isinstance(raw, bytes)
    value = bytearray(raw)
    if kind == b"otp":
        assert raw[0] == VERSION
        assert len(raw) >= HEAD.size
        places: Any = [CREATED_AT]
    elif kind == b"msg":
        # One byte: the tombstone of an event.
        places = [TIMES_AT, TIMES_AT + 8, TIMES_AT + 16] if len(raw) >= MESSAGE_HEAD.size else []
    else:
        places = [0] if kind == b"clock" else range(0, len(raw), 8)
    for place in places:
        (moment,) = struct.unpack_from("<d", value, place)
        struct.pack_into("<d", value, place, moment - ms)
    return bytes(value)


@contextmanager
def checked(place: Place) -> Iterator[Place]:
    """After a test, nothing may be left that would live for ever."""
    yield place
    assert place.endless() == []
