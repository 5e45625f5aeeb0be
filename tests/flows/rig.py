"""A whole service without HTTP: real store, verifier and courier, and channels that misbehave by name."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import structs

from otpsvc.address import ANY, EMAIL, AddressKind
from otpsvc.channel import Channel, ChannelConfig
from otpsvc.deliver import Courier, Ended, News, Route
from otpsvc.errors import Refused, Unavailable, Uncertain
from otpsvc.hashpool import Cost, HashPool
from otpsvc.keyring import KeyEntry, Keyring
from otpsvc.letter import Letters, Way
from otpsvc.message import Message, Receipt
from otpsvc.request import read_create
from otpsvc.store import Store
from otpsvc.tenant import Codes, Limits, Tenant, Texts
from otpsvc.verify import Verifier
from otpsvc.view import View
from tests.waiting import until

CHEAP = Cost(memory=64, passes=1)


def new_key(state: str = "active") -> KeyEntry:
    return KeyEntry(id=secrets.token_hex(4), state=state, secret=secrets.token_hex(32))


class Outlet(Channel):
    """Keeps what it is given. Misdeeds by name; each counts down `times` (0: for ever)."""

    def __init__(self, kind: AddressKind = EMAIL, **config: Any) -> None:
        super().__init__(ChannelConfig(type="outlet", **config), lambda _news: None)
        self.address = kind
        self.taken: list[Message] = []
        self.tried: list[Message] = []
        self.misdeed: Callable[[], None] | None = None
        self.times = 0
        self.gate: asyncio.Event | None = None

    def misbehaves(self, error: Exception, times: int = 0) -> None:
        def raise_it() -> None:
            raise error

        self.misdeed, self.times = raise_it, times

    def refuses(self, times: int = 0) -> None:
        self.misbehaves(Refused("550 at RCPT"), times)

    def is_unavailable(self, times: int = 0, retry_after: float | None = None) -> None:
        self.misbehaves(Unavailable("421", retry_after=retry_after), times)

    def loses_reply(self, times: int = 0) -> None:
        self.misbehaves(Uncertain("lost after DATA"), times)

    def hangs(self) -> asyncio.Event:
        """Until the event that comes back is set."""
        self.gate = asyncio.Event()
        return self.gate

    async def send(self, message: Message) -> Receipt:
        self.tried.append(message)
        if self.gate is not None:
            await self.gate.wait()
        if self.misdeed is not None:
            misdeed = self.misdeed
            if self.times == 1:
                self.misdeed = None
            self.times = max(0, self.times - 1)
            misdeed()
        self.taken.append(message)
        return Receipt()


class Node:
    """One node: its store connection, keyring, courier and verifier."""

    def __init__(
        self,
        store: Store,
        keyring: Keyring,
        outlets: Mapping[str, Outlet],
        routes: Mapping[str, tuple[str, ...]],
        tenants: Mapping[str, Tenant],
        *,
        waiting: int = 256,
        lease: int = 60_000,
        root_url: str = "http://localhost:9000",
    ) -> None:
        """`lease` in milliseconds: where none is to run out, far longer than any machine pauses."""
        self.store = store
        self.tenants = dict(tenants)
        self.news: list[News | Ended] = []
        self.pool = HashPool(threads=2, waiting=waiting)
        kinds = {name: outlet.address for name, outlet in outlets.items() if name != "callback"}
        kinds |= {name: outlets[way[0]].address for name, way in routes.items()}
        ways = {name: Way(kind.name, Texts()) for name, kind in kinds.items()}
        letters = Letters(keyring, lambda: self.tenants, ways, root_url=root_url)
        all_routes = {name: (name,) for name in outlets} | dict(routes)
        self.courier = Courier(
            store,
            {
                name: Route(name, tuple((channel, outlets[channel]) for channel in way))
                for name, way in all_routes.items()
            },
            compose=letters.compose,
            tenants=lambda: self.tenants,
            news=self.news.append,
            lease=lease,
            beat=0.1,
            poll=0.1,
        )
        self.verifier = Verifier(
            store=store,
            keyring=keyring,
            kinds=kinds,
            outbox=self.courier,
            pool=self.pool,
            root_url=root_url,
            cost=CHEAP,
        )

    async def create(self, tenant: str = "shop", id: str = "user-123", key: str = "", **fields: str) -> View:
        owner = self.tenants[tenant]
        asked = {"provider": "mail", "to": "anna@home.example"} | fields
        return await self.verifier.create(owner, read_create(asked, owner.codes, id=id, key=key))

    async def check(self, code: str, tenant: str = "shop", id: str = "user-123") -> View:
        return await self.verifier.check(self.tenants[tenant], id, code)

    async def read(self, tenant: str = "shop", id: str = "user-123") -> View:
        return await self.verifier.read(self.tenants[tenant], id)

    async def status(self, tenant: str = "shop", id: str = "user-123", **more: Any) -> View:
        return await self.verifier.status(self.tenants[tenant], id, **more)

    async def settled(self, id: str = "user-123", *, but: tuple[str, ...] = ("queued", "sending")) -> View:
        """The view once its message is in another state than these."""
        view = await self.read(id=id)

        async def is_settled() -> bool:
            nonlocal view
            view = await self.read(id=id)
            return view.message.state not in but

        await until(is_settled, lambda: str(view.message))
        return view


def tenant(name: str = "shop", **more: Any) -> Tenant:
    """A tenant without the guards that would get in a test's way."""
    return Tenant(name=name, **({"limits": Limits(enabled=False)} | more))


def with_codes(owner: Tenant, **codes: Any) -> Tenant:
    return structs.replace(owner, codes=Codes(**codes))


def wrong(code: str) -> str:
    """Another code of the same form."""
    return "000000" if code != "000000" else "111111"


__all__ = ["ANY", "EMAIL", "Node", "Outlet", "new_key", "tenant", "with_codes", "wrong"]
