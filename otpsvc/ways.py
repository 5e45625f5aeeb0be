"""The ways out of one config: channels opened, routes made of them, and the change to another config's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import Self

import structlog
from msgspec import Struct

from otpsvc.address import ANY, AddressKind
from otpsvc.channel import Changes, Channel, ChannelConfig
from otpsvc.channels.callback import Callback, CallbackConfig
from otpsvc.config import Config
from otpsvc.deliver import Courier, Route
from otpsvc.letter import Draft, Way
from otpsvc.loading import CALLBACK, make
from otpsvc.message import Lane
from otpsvc.store import Claimed
from otpsvc.tenant import Tenant, Texts

_log = structlog.get_logger("otpsvc.ways")


class Ways(Struct, frozen=True):
    """`routes` has every channel alone, every configured route, and the callbacks'."""

    channels: Mapping[str, Channel]
    routes: Mapping[str, Route]
    #: What channels that stay are to become; done by `open`.
    changes: Mapping[str, ChannelConfig] = {}

    @classmethod
    def of(cls, config: Config, callback: Callback, *, old: Self | None = None) -> Self:
        """Channels that stay, as they are or changed, are taken from `old`. Raises: ConfigError."""
        before = old.channels if old else {}
        same = {name: _same(before.get(name), one) for name, one in config.channels.items()}
        made = {name: make(one) for name, one in config.channels.items() if same[name] is None}
        changes = {
            name: config.channels[name]
            for name, new in made.items()
            if isinstance(new, Changes) and type(before.get(name)) is type(new)
        }
        kept = {**same, **{name: before[name] for name in changes}}
        channels = {name: kept[name] or made[name] for name in config.channels}
        lists = {**{name: (name,) for name in channels}, **config.routes}
        routes = {
            name: Route(name, tuple((way, channels[way]) for way in ways)) for name, ways in lists.items()
        }
        routes[CALLBACK] = Route(CALLBACK, ((CALLBACK, callback),))
        return cls(channels, routes, changes)

    def kinds(self) -> dict[str, AddressKind]:
        """The kind of address that each way out takes, where people may name it."""
        return {name: _kind(route) for name, route in self.routes.items() if name != CALLBACK}

    def letters(self) -> dict[str, Way]:
        """What a letter must know of each route."""
        return {name: Way(_kind(route).name, _texts(route)) for name, route in self.routes.items()}

    def titles(self) -> dict[str, str]:
        """What ways out are called, where the config of their first channel says so."""
        every = {name: route.channels[0][1].config.title for name, route in self.routes.items()}
        return {name: title for name, title in every.items() if title}

    async def open(self, but: Self | None = None) -> None:
        """Open all channels that `but` does not hold, and change those that stay; all or none."""
        held = set(but.channels.values()) if but else set()
        async with AsyncExitStack() as stack:
            for channel in self.channels.values():
                if channel not in held:
                    await stack.enter_async_context(channel)
            for name, config in self.changes.items():
                channel = self.channels[name]
                before = channel.config
                assert isinstance(channel, Changes)
                await channel.change(config)
                stack.push_async_callback(channel.change, before)
            stack.pop_all()

    async def close(self, but: Self | None = None) -> None:
        """Close all channels that `but` does not hold."""
        held = set(but.channels.values()) if but else set()
        for name, channel in self.channels.items():
            if channel in held:
                continue
            try:
                await channel.__aexit__(None, None, None)
            except Exception:  # noqa: BLE001 - one must not keep the others open
                _log.exception("a channel could not be closed", channel=name)


class Outlet:
    """What verification hands messages to: the courier of the moment, or none in this process."""

    def __init__(self) -> None:
        self.courier: Courier | None = None
        self._open = True
        #: Places that were kept and neither filled nor given back.
        self._kept = 0
        self._settled = asyncio.Event()

    async def change(self, courier: Courier) -> Courier | None:
        """From now on this one serves; the one before is returned, and no kept place is left in it."""
        # Meanwhile messages are queued, and the old courier takes them from there.
        self._open = False
        try:
            while self._kept:
                self._settled.clear()
                await self._settled.wait()
            old, self.courier = self.courier, courier
        finally:
            self._open = True
        return old

    def lease(self, tenant: str, route: str) -> int:
        """0 without a courier: the message is queued, and the store wakes who delivers."""
        lease = self.courier.lease(tenant, route) if self.courier and self._open else 0
        if lease:
            self._kept += 1
        return lease

    def give_back(self, tenant: str, route: str) -> None:
        if self.courier:
            self._filled()
            self.courier.give_back(tenant, route)

    def take(self, claimed: Claimed, draft: Draft | None = None) -> None:
        if self.courier:
            self._filled()
            self.courier.take(claimed, draft)

    def _filled(self) -> None:
        self._kept -= 1
        if not self._kept:
            self._settled.set()

    def wake(self, tenant: str, route: str, lane: Lane) -> None:
        if self.courier:
            self.courier.wake(tenant, route, lane)

    @property
    def in_flight(self) -> int:
        return self.courier.in_flight if self.courier else 0


def callback_channel(tenants: Callable[[], Mapping[str, Tenant]]) -> Callback:
    """The channel of events to tenants."""
    return Callback(CallbackConfig(), lambda _: None, tenants=tenants)


def _same(channel: Channel | None, config: ChannelConfig) -> Channel | None:
    """The channel, if the config asks for the same. What stands in files may have changed, so: anew."""
    if channel is None or channel.config != config:
        return None
    return None if names_files(config) else channel


def names_files(config: object) -> bool:
    """Whether a secret or a certificate stands in a file, also in a table of it."""
    if isinstance(config, Mapping):
        return any(map(names_files, config.values()))
    if not isinstance(config, Struct):
        return False
    fields = [(name, getattr(config, name)) for name in config.__struct_fields__]
    return any((name.endswith("_file") and value) or names_files(value) for name, value in fields)


def _kind(route: Route) -> AddressKind:
    """The strictest of its channels; they differ by "any" alone (see `loading.py`)."""
    kinds = [channel.address for _, channel in route.channels]
    return next((kind for kind in kinds if kind.name != "any"), ANY)


def _texts(route: Route) -> Texts:
    """The first channel's own."""
    config = route.channels[0][1].config
    return Texts(subject=config.subject, text=config.template, sms=config.template)
