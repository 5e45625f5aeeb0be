"""Services put together from a config, on a real store, asked through their ASGI doors."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec import structs
from standardwebhooks import Webhook
from structlog.testing import capture_logs

from otpsvc.app import Service
from otpsvc.channels.callback import Callback, CallbackConfig
from otpsvc.channels.smtp import SmtpConfig
from otpsvc.config import Config, Redis
from otpsvc.deliver import Courier
from otpsvc.errors import ConfigError, KeyringError, Refused, StoreUnavailable
from otpsvc.keyring import Keyring
from otpsvc.message import Message
from otpsvc.starting import check_store
from otpsvc.tenant import Tenant
from otpsvc.ways import Ways
from tests.app.rig import INDEX, SIGNING, Start, client, code_of, create, hook, tenant
from tests.far_ends.http_server import HttpServer
from tests.far_ends.valkey import ValkeyServer
from tests.flows.rig import new_key
from tests.waiting import PATIENCE, stays, until


async def test_a_code_is_made_sent_and_checked(start: Start, config: Config, far: HttpServer) -> None:
    async with start(config) as service:
        assert (await create(service)).status_code == 200
        await until(lambda: far.posts)

        async with client(service) as shop:
            checked = await shop.post("/api/otp/user-0001", data={"otp": code_of(far)})

    assert checked.json()["data"]["closed"] is True


async def test_who_only_serves_the_api_leaves_sending_to_the_other(
    start: Start, config: Config, far: HttpServer, server: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Woken by the store: it does not look for itself.
    monkeypatch.setattr("otpsvc.app.Courier", partial(Courier, poll=3600.0))
    async with start(config, "delivery") as delivery, start(config, "api") as service:
        assert delivery.api is None
        await until(lambda: server.ask("PUBSUB", "NUMSUB", "otpsvc:wake")[1])
        assert (await create(service)).status_code == 200
        await until(lambda: far.posts)


async def test_without_a_deliverer_a_message_waits(start: Start, config: Config, far: HttpServer) -> None:
    async with start(config, "api") as service:
        answer = await create(service)
        assert answer.json()["data"]["message"]["state"] == "queued"
    assert not far.posts

    async with start(config, "delivery"):
        await until(lambda: far.posts)


async def test_a_final_state_is_posted_to_the_tenant(start: Start, config: Config, far: HttpServer) -> None:
    async with HttpServer() as own:
        shop = tenant(callback_url=own.url, callback_secret=SIGNING)
        async with start(structs.replace(config, tenants={"shop": shop})) as service:
            await create(service)
            await until(lambda: far.posts)
            async with client(service) as http:
                await http.post("/api/otp/user-0001", data={"otp": code_of(far)})
            post = await until(lambda: own.posts and own.posts[0])

    event = Webhook(SIGNING).verify(post.body, dict(post.headers))
    assert event["type"] == "otp.verified"
    assert event["data"]["id"] == "user-0001"
    assert code_of(far) not in post.body.decode()
    assert post.headers["webhook-id"].startswith("evt_")


async def test_an_event_of_a_tenant_that_wants_none_is_given_up() -> None:
    message = Message(id="evt_1", to="", text="{}", expires=time.time() + 60, tenant="shop")
    for tenants in ({}, {"shop": tenant()}):
        async with Callback(CallbackConfig(), lambda _: None, tenants=lambda t=tenants: t) as channel:  # type: ignore[misc]
            with pytest.raises(Refused, match="410"):
                await channel.send(message)


async def test_callbacks_of_a_tenant_that_was_added_later(far: HttpServer) -> None:
    tenants: dict[str, Tenant] = {}
    async with Callback(CallbackConfig(), lambda _: None, tenants=lambda: tenants) as channel:
        tenants["shop"] = tenant(callback_url=far.url, callback_secret=SIGNING)
        message = Message(id="evt_1", to="", text='{"a":1}', expires=time.time() + 60, tenant="shop")
        await asyncio.gather(channel.send(message), channel.send(message))

    assert [post.json for post in far.posts] == [{"a": 1}] * 2


# Start


async def test_another_keyring_is_refused(start: Start, config: Config, keyring: Keyring) -> None:
    async with start(config):
        pass

    for other in (
        Keyring(b"o" * 32, [new_key()]),
        Keyring(INDEX, [structs.replace(new_key(), id=keyring.active.name)]),
    ):
        with pytest.raises(KeyringError, match="another keyring"):
            async with start(config, ring=other):
                pass


async def test_a_key_more_is_another_thing(start: Start, config: Config) -> None:
    first = new_key()
    for ring in (Keyring(INDEX, [first]), Keyring(INDEX, [first, new_key("accept")])):
        async with start(config, ring=ring) as service:
            assert (await create(service)).status_code == 200


async def test_a_store_that_keeps_too_little_is_refused(start: Start, config: Config) -> None:
    with ValkeyServer(persistence="everysec") as weak:
        wrong = structs.replace(config, redis=Redis(url=weak.url, durability="always"))
        with pytest.raises(ConfigError, match=r"redis\.durability"):
            async with start(wrong):
                pass

        right = structs.replace(config, redis=Redis(url=weak.url, durability="everysec"))
        async with start(right) as service:
            assert (await create(service)).status_code == 200


async def test_a_store_that_may_lose_writes_is_fenced(config: Config, server: ValkeyServer) -> None:
    assert await check_store(server.url, config)
    with ValkeyServer(persistence="everysec") as weak:
        said = structs.replace(config, redis=Redis(url=weak.url, durability="everysec"))
        assert not await check_store(weak.url, said)


async def test_a_store_that_is_away_is_waited_for(config: Config) -> None:
    with ValkeyServer(persistence="always") as late:
        late.kill()
        waiting = asyncio.create_task(check_store(late.url, config, patience=PATIENCE))
        await stays(lambda: not waiting.done())
        late.start()
        assert await waiting

    with pytest.raises(StoreUnavailable):
        await check_store("unix:///nowhere/s", config, patience=0.1)


# What others see


async def test_health_of_store_and_channels(start: Start, config: Config) -> None:
    gone = SmtpConfig(type="smtp", host="127.0.0.1", port=1, tls="none", sender="a@b.example")
    more = structs.replace(config, channels={**config.channels, "mail": gone}, warnings=("one", "two"))
    async with start(more) as service:
        found = await service.health()

    assert found.ok
    assert found.channels["hook"].ok
    assert not found.channels["mail"].ok
    assert found.warnings[:2] == ("one", "two")


def test_a_keyring_beside_the_embedded_store_is_told(
    config: Config, keyring: Keyring, tmp_path: Path
) -> None:
    own = structs.replace(config, redis=Redis())
    apart = structs.replace(own, app=structs.replace(own.app, keyring=tmp_path.parent / "keyring.toml"))

    said = [bool(Service(one, keyring, url="unix:///x").warnings()) for one in (own, apart, config)]

    assert said == [True, False, False]


async def test_lines_and_metrics_hold_no_id_and_no_address(
    start: Start, config: Config, far: HttpServer
) -> None:
    with capture_logs() as said:
        async with start(config) as service:
            await create(service, "secret-id-1")
            await until(lambda: any(line["event"] == "message" for line in said))
            await create(service, "secret-id-1", provider="nosuch")
            async with httpx.AsyncClient(
                transport=httpx.ASGITransport(app=service.admin), base_url="http://otp"
            ) as admin:
                metrics = (await admin.get("/metrics")).text
        lines = json.dumps(said, default=repr)

    for planted in ("secret-id-1", "2025550123", code_of(far)):
        assert planted not in lines
        assert planted not in metrics
    assert 'otpsvc_messages_total{channel="hook",final="sent",lane="otp",result="sent"} 1.0' in metrics
    assert [line["refusal"] for line in said if line["event"] == "request"] == ["", "unknown_provider"]


def test_a_route_takes_the_strictest_kind_of_its_channels(config: Config, far: HttpServer) -> None:
    both = structs.replace(
        config,
        channels={"any": hook(far), "phone": hook(far, address="phone")},
        routes={"sms": ("any", "phone")},
    )

    ways = Ways.of(both, Callback(CallbackConfig(), lambda _: None, tenants=dict))

    assert {name: kind.name for name, kind in ways.kinds().items()} == {
        "any": "any",
        "phone": "phone",
        "sms": "phone",
    }
    assert set(ways.routes) == {"any", "phone", "sms", "callback"}


async def test_ways_open_all_or_none(
    config: Config, far: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways = Ways.of(
        structs.replace(config, channels={"one": hook(far), "two": hook(far)}),
        Callback(CallbackConfig(), lambda _: None, tenants=dict),
    )
    one, two = ways.channels.values()
    seen: list[str] = []

    async def entered() -> Any:
        seen.append("open")

    async def left(*_: object) -> None:
        seen.append("close")

    async def fails() -> Any:
        raise RuntimeError

    async with AsyncExitStack():
        monkeypatch.setattr(type(one), "__aenter__", lambda self: entered() if self is one else fails())
        monkeypatch.setattr(type(two), "__aexit__", left)
        with pytest.raises(RuntimeError):
            await ways.open()

    assert seen == ["open", "close"]
