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

from otpsvc.config import Config
from otpsvc.deliver import Courier, Ended, News
from otpsvc.hashpool import Cost, HashPool
from otpsvc.http import health, hot
from otpsvc.http.auth import Authenticator
from otpsvc.http.parts import Health, Parts, RequestLine
from otpsvc.keyring import Keyring
from otpsvc.letter import Letters
from otpsvc.metrics import Metrics
from otpsvc.starting import BOTH, Role, check_keys, check_store, warnings_of
from otpsvc.stores.redis import RedisStore
from otpsvc.tenant import Tenant
from otpsvc.verify import Verifier
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
        roles: frozenset[Role] = BOTH,
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
        self._cost = cost
        self._callback = callback_channel(self._tenants)
        self._ways = Ways.of(config, self._callback)
        self._kinds = self._ways.kinds()
        self._letter_ways = self._ways.letters()
        self._outlet = Outlet()
        self._leaving: set[asyncio.Task[None]] = set()
        self._stack = AsyncExitStack()
        self._hurry = asyncio.Event()
        #: Seconds for messages on their way when we end.
        self.grace = GRACE

    def hurry(self) -> None:
        """End without waiting for messages on their way; their leases free them."""
        self._hurry.set()

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
        codes, logins = HashPool(), HashPool(waiting=64)
        self._stack.callback(codes.close)
        self._stack.callback(logins.close)
        if self._delivers:
            await self._deliver()
        parts = self._parts(codes, logins)
        self.admin = health.build_admin(parts)
        if "api" in self._roles:
            self.api, framed = hot.build(parts)
            warming = asyncio.get_running_loop().call_later(WARM, framed.begin)
            self._stack.callback(warming.cancel)

    async def _deliver(self) -> None:
        await self._ways.open()
        self._stack.push_async_callback(self._close_ways)
        await self._stack.enter_async_context(self._callback)
        self._outlet.courier = self._started_courier()
        self._stack.push_async_callback(self._stop_courier)
        self.store.listen(self._outlet.wake)

    def _parts(self, codes: HashPool, logins: HashPool) -> Parts:
        app = self.config.app
        verifier = Verifier(
            store=self.store,
            keyring=self._keyring,
            kinds=self._kinds,
            outbox=self._outlet,
            pool=codes,
            root_url=app.root_url,
            cost=self._cost,
        )
        self._authenticator = Authenticator(self._tenants, logins)
        return Parts(
            verifier=verifier,
            tenants=self._tenants,
            authenticator=self._authenticator,
            health=self.health,
            metrics=lambda: self._metrics.text(in_flight=self._outlet.in_flight),
            log=self._note_request,
            root_url=app.root_url,
            trusted_proxies=app.trusted_proxies,
        )

    # Delivery

    def _started_courier(self) -> Courier:
        courier = Courier(
            self.store,
            self._ways.routes,
            compose=self._letters.compose,
            tenants=lambda: list(self.config.tenants),
            news=self._note_news,
        )
        courier.start()
        return courier

    async def _stop_courier(self) -> None:
        if (courier := self._outlet.courier) is not None:
            hurry = asyncio.ensure_future(self._hurry.wait())
            stopping = asyncio.ensure_future(courier.stop(self.grace))
            await asyncio.wait((hurry, stopping), return_when=asyncio.FIRST_COMPLETED)
            if not stopping.done():
                stopping.cancel()
                await courier.stop(0)
            hurry.cancel()
        for task in self._leaving:
            task.cancel()
        await asyncio.gather(*self._leaving, return_exceptions=True)

    async def _close_ways(self) -> None:
        await self._ways.close()

    # Reload

    async def reload(self, config: Config) -> None:
        """Tenants, templates, limits, channels and routes of another config; requests go on meanwhile.

        One at a time. Raises: ConfigError, after which everything is as before.
        """
        ways = Ways.of(config, self._callback, old=self._ways)
        if self._delivers:
            await ways.open(but=self._ways)
        self._tell_fixed(config)
        old, self._ways, self.config = self._ways, ways, config
        _become(self._letter_ways, {**old.letters(), **ways.letters()})
        _become(self._kinds, ways.kinds())
        self._letters.forget()
        self._authenticator.flush()
        if self._delivers and ways.routes != old.routes:
            await self._change_courier(old)

    async def _change_courier(self, old: Ways) -> None:
        """The new courier serves at once; the old one ends what it has in hand, then its channels close."""
        leaving, ways = await self._outlet.change(self._started_courier()), self._ways

        async def leave() -> None:
            longest = max(channel.config.timeout for channel in (*old.channels.values(), self._callback))
            try:
                if leaving is not None:
                    await leaving.stop(longest + 1)
            finally:
                await old.close(but=ways)

        task = asyncio.create_task(leave())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    def _tell_fixed(self, config: Config) -> None:
        """What was changed and is read at start alone."""
        fixed = [
            f"{table}.{name}"
            for table in ("app", "redis")
            for name in getattr(config, table).__struct_fields__
            if getattr(getattr(config, table), name) != getattr(getattr(self.config, table), name)
        ]
        if fixed:
            _log.warning("these changes take effect after a restart", settings=", ".join(fixed))

    # What others are told

    async def health(self) -> Health:
        """How the store and the channels of this process are."""
        channels = self._ways.channels if self._delivers else {}
        return await health.examine(self.store, channels, warnings=self.warnings())

    def warnings(self) -> tuple[str, ...]:
        """What the operator should know, and may have wanted."""
        return warnings_of(self.config)

    def _note_request(self, line: RequestLine) -> None:
        self._metrics.request(
            method=line.method, route=line.route, status=line.status, seconds=line.seconds, code=line.code
        )
        say = _log.error if line.failure else _log.info
        say(
            "request",
            request_id=line.request_id,
            method=line.method,
            route=line.route,
            status=line.status,
            ms=round(line.seconds * 1000, 2),
            tenant=line.tenant,
            client=line.client,
            refusal=line.code,
            **({"exception": line.failure} if line.failure else {}),
        )

    def _note_news(self, news: News | Ended) -> None:
        if isinstance(news, Ended):
            self._metrics.ended(lane=news.lane, count=news.count)
            _log.warning(
                "messages expired", tenant=news.tenant, route=news.route, lane=news.lane, count=news.count
            )
            return
        self._metrics.attempt(
            channel=news.channel, lane=news.lane, result=news.result, final=news.final, seconds=news.seconds
        )
        if news.bug is not None:
            _log.error("a channel broke", channel=news.channel, exc_info=news.bug)
        say = _log.info if news.result == "sent" else _log.warning
        say(
            "message",
            tenant=news.tenant,
            route=news.route,
            channel=news.channel,
            lane=news.lane,
            message=news.message[:8],
            result=news.result,
            reason=news.reason,
            final=news.final,
            ms=round(news.seconds * 1000, 2),
        )


def _become(mapping: dict[str, Any], new: Mapping[str, Any]) -> None:
    """In place: others hold the mapping."""
    mapping.clear()
    mapping.update(new)
