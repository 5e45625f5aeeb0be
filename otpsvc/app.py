"""Where the parts meet: config and keyring in, a running service out.

config ─> ways (channels, routes) ─┐
keyring, store ────────────────────┼─> letters, courier ─> outlet <─ verifier <─ http
tenants of the moment ─────────────┘
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Final, Self

import structlog
from msgspec import structs

from otpsvc.config import Config
from otpsvc.couriers import Couriers
from otpsvc.deliver import Courier
from otpsvc.feeding import Feeding
from otpsvc.hashpool import Cost, HashPool
from otpsvc.http import health, hot
from otpsvc.http.auth import Authenticator
from otpsvc.http.parts import Health, Parts
from otpsvc.inbox import Inbox, Keep
from otpsvc.keyring import Keyring
from otpsvc.lending import Lender
from otpsvc.letter import Letters
from otpsvc.metrics import Metrics
from otpsvc.modems import Modems
from otpsvc.notes import Notes
from otpsvc.standing import FeederHealth, overall
from otpsvc.starting import ALL, Role, check_keys, check_store, node_name, read_at_start, warnings_of
from otpsvc.stores.board import feeders
from otpsvc.stores.redis import RedisStore
from otpsvc.tenant import Tenant
from otpsvc.verbs import Verbs
from otpsvc.ways import Outlet, Ways, callback_channel

#: Seconds; less than the time for which systemd and others wait before they kill.
GRACE: Final = 10.0
#: Seconds after our start until what the first calls do not need is loaded.
WARM: Final = 0.2

_log = structlog.get_logger("otpsvc")


class Service:
    """One process's service. `url` is the store's; `api` and `admin` are its doors once it is entered.

    Without the role `delivery` it opens no channel and sends nothing: what it puts into
    the outbox wakes the process that does.
    """

    def __init__(
        self,
        config: Config,
        keyring: Keyring,
        *,
        url: str,
        roles: frozenset[Role] = ALL,
        metrics: Metrics | None = None,
        cost: Cost = Cost(),  # noqa: B008 - frozen
    ) -> None:
        self.config = config
        self.api: Any = None
        self.admin: Any = None
        self._keyring = keyring
        self._url = url
        self._roles = roles
        self._delivers = "delivery" in roles
        self._metrics = metrics or Metrics()
        self._notes = Notes(self._metrics)
        self._cost = cost
        self._callback = callback_channel(self._tenants)
        self._ways = Ways.of(config, self._callback)
        self._kinds = self._ways.kinds()
        self._letter_ways = self._ways.letters()
        self._titles = self._ways.titles()
        self._outlet = Outlet()
        self._node = node_name()
        self._modems: Modems | None = None
        self._feeding: Feeding | None = None
        self._couriers = Couriers(self._outlet, self._started_courier)
        self._stack = AsyncExitStack()
        #: Seconds for messages on their way when we end.
        self.grace = GRACE

    def hurry(self) -> None:
        """End without waiting for what is in hand: leases free messages, brokers deliver again."""
        self._couriers.hurry()
        if self._feeding is not None:
            self._feeding.hurry()

    async def stop_feeding(self) -> None:
        """Take nothing more from brokers; the rest goes on."""
        if self._feeding is not None:
            await self._feeding.stop()

    def _tenants(self) -> Mapping[str, Tenant]:
        return self.config.tenants

    async def __aenter__(self) -> Self:
        """Raises: ConfigError, KeyringError, StoreUnavailable: it cannot start."""
        try:
            await self._open()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    async def _open(self) -> None:
        durable = await check_store(self._url, self.config)
        self.store = RedisStore(self._url, fenced=not durable)
        self._stack.push_async_callback(self.store.close)
        await check_keys(self.store, self._keyring)
        self._letters = Letters(
            self._keyring, self._tenants, self._letter_ways, root_url=self.config.app.root_url
        )
        self._inbox = Inbox(self.store, self._keyring, _keep(self.config))
        codes, logins = HashPool(), HashPool(waiting=64)
        self._stack.callback(codes.close)
        self._stack.callback(logins.close)
        verbs = Verbs.of(
            self.store,
            self._keyring,
            config=lambda: self.config,
            kinds=self._kinds,
            outlet=self._outlet,
            codes=codes,
            cost=self._cost,
        )
        self._board = feeders(self.store, self._keyring)
        if self._delivers:
            await self._deliver()
        parts = self._parts(verbs, logins)
        self.admin = health.build_admin(parts)
        if "api" in self._roles:
            self.api, framed = hot.build(parts)
            warming = asyncio.get_running_loop().call_later(WARM, framed.begin)
            self._stack.callback(warming.cancel)
        if "feeders" in self._roles:
            await self._feed(verbs)

    async def _feed(self, verbs: Verbs) -> None:
        """Last of all, so that they end first: what they take until then is still delivered."""
        self._lender = Lender(verbs.relay, self.store, self._keyring, self._tenants)
        self._feeding = Feeding(
            self.config.feeders,
            self._lender.lend,
            holds=self.store,
            board=self._board,
            node=self._node,
            metrics=self._metrics.feeders,
        )
        await self._stack.enter_async_context(self._feeding)

    async def _deliver(self) -> None:
        self._modems = Modems(
            self.store,
            self._keyring,
            self._inbox,
            channels=lambda: self._ways.channels,
            wake=self._outlet.wake,
            metrics=self._metrics,
            came=self._text_came,
            node=self._node,
        )
        await self._stack.enter_async_context(self._modems)
        self._modems.equip(self._ways.channels)
        await self._ways.open()
        self._stack.push_async_callback(lambda: self._ways.close())
        await self._stack.enter_async_context(self._callback)
        self._couriers.begin()
        self._stack.push_async_callback(lambda: self._couriers.stop(self.grace))
        self.store.listen(self._outlet.wake)

    def _text_came(self, tenant: str) -> None:
        if self._feeding is not None:
            self._feeding.wake(tenant)

    def _parts(self, verbs: Verbs, logins: HashPool) -> Parts:
        app = self.config.app
        self._authenticator = Authenticator(self._tenants, logins)
        return Parts(
            relay=verbs.relay,
            relay_paths=tuple(path for path in structs.astuple(self.config.relay.paths) if path),
            submitter=verbs.submitter,
            blocks=verbs.blocks,
            inbox=self._inbox,
            lines=verbs.lines,
            verifier=verbs.verifier,
            tenants=self._tenants,
            authenticator=self._authenticator,
            health=self.health,
            metrics=lambda: self._metrics.text(in_flight=self._outlet.in_flight, feeders=self.config.feeders),
            log=self._notes.request,
            root_url=app.root_url,
            titles=self._titles,
            trusted_proxies=app.trusted_proxies,
        )

    # Delivery

    def _started_courier(self) -> Courier:
        courier = Courier(
            self.store,
            self._ways.routes,
            compose=self._letters.compose,
            tenants=lambda: list(self.config.tenants),
            news=self._notes.news,
        )
        courier.start()
        return courier

    # Reload

    async def reload(self, config: Config) -> None:
        """Tenants, templates, limits, ways and feeders of another config; requests go on meanwhile.

        One at a time. Raises: ConfigError, after which everything is as before.
        """
        if self._feeding is None:
            await self._reload(config)
            return
        self._lender.remember()
        async with self._feeding.change(config.feeders):
            await self._reload(config)

    async def _reload(self, config: Config) -> None:
        ways = Ways.of(config, self._callback, old=self._ways)
        if self._modems is not None:
            self._modems.equip(ways.channels)
            await ways.open(but=self._ways)
        if fixed := read_at_start(self.config, config):
            _log.warning("these changes take effect after a restart", settings=", ".join(fixed))
        old, self._ways, self.config = self._ways, ways, config
        _become(self._letter_ways, {**old.letters(), **ways.letters()})
        _become(self._kinds, ways.kinds())
        _become(self._titles, ways.titles())
        self._letters.forget()
        self._inbox.limits = _keep(config)
        self._authenticator.flush()
        # A channel that was changed is the same object.
        if self._delivers and (ways.changes or ways.routes != old.routes):
            await self._change_courier(old)

    async def _change_courier(self, old: Ways) -> None:
        """The old one ends what it has in hand, then its channels close."""
        ways = self._ways
        longest = max(channel.config.timeout for channel in (*old.channels.values(), self._callback))
        await self._couriers.change(longest + 1, lambda: old.close(but=ways))

    # What others are told

    async def health(self) -> Health:
        """How the store and the channels of this process are."""
        channels = self._ways.channels if self._delivers else {}
        return await health.examine(
            self.store, channels, feeders=self._feeders_health, warnings=self.warnings()
        )

    async def _feeders_health(self) -> dict[str, FeederHealth]:
        """Of all nodes, as they told. Raises: StoreUnavailable."""
        return overall(self.config.feeders, await self._board.read())

    def warnings(self) -> tuple[str, ...]:
        """What the operator should know, and may have wanted."""
        return warnings_of(self.config)


def _keep(config: Config) -> Keep:
    return Keep(life=config.relay.inbox_life, most=config.relay.inbox_most)


def _become(mapping: dict[str, Any], new: Mapping[str, Any]) -> None:
    """In place: others hold the mapping."""
    mapping.clear()
    mapping.update(new)
