"""Feeders of a whole service: lent what they need, changed by a reload, ended before the courier."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec import structs

from otpsvc.app import Service
from otpsvc.config import Config
from otpsvc.errors import ConfigError
from otpsvc.feeder import Frame
from otpsvc.keyring import Keyring
from otpsvc.stores.board import feeders
from tests.app.feeding_rig import Scripted, register
from tests.app.feeding_rig import config as feeder
from tests.app.rig import Start, tenant
from tests.far_ends.http_server import HttpServer
from tests.far_ends.valkey import ValkeyServer
from tests.waiting import until

TO = "+12025550123"


@pytest.fixture(autouse=True)
def _types(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch)


def with_feeders(config: Config, **tables: Any) -> Config:
    shop = tenant(scopes=frozenset({"otp", "sms"}))
    return structs.replace(config, feeders=tables, tenants={"shop": shop}, channels=config.channels)


def frame(text: str = "hello", id: str = "7") -> bytes:
    return json.dumps({"command": "send-sms", "data": {"id": id, "msisdn": TO, "message": text}}).encode()


def live() -> list[Scripted]:
    return [one for one in Scripted.made if one.live]


async def up(count: int) -> list[Scripted]:
    await until(lambda: len(live()) == count)
    return live()


async def test_what_a_feeder_hands_in_is_sent_for_its_tenant(
    start: Start, config: Config, far: HttpServer
) -> None:
    async with start(with_feeders(config, one=feeder(channel="hook"))):
        [one] = await up(1)
        taken = await one.lent.intake.take(Frame(body=frame(), asked=True))
        await until(lambda: far.posts)

    assert taken.refusals == {}
    assert json.loads(taken.answer)["response_code"] == "0000"
    assert far.posts[0].json["data"]["text"] == "hello"


async def test_who_feeds_wakes_who_delivers(start: Start, config: Config, far: HttpServer) -> None:
    whole = with_feeders(config, one=feeder(channel="hook"))
    async with start(whole, "delivery") as other, start(whole, "feeders") as service:
        assert service.api is None
        assert service._outlet.courier is None
        [one] = await up(1)
        await one.take(frame())
        await until(lambda: far.posts)
        assert other._feeding is None


async def test_feeders_end_before_the_courier(start: Start, config: Config, far: HttpServer) -> None:
    async with start(with_feeders(config, one=feeder(channel="hook"))):
        [one] = await up(1)

        async def drain() -> None:
            await one.take(frame())

        one.drains = drain
    # What it took at its end was sent.
    assert len(far.posts) == 1
    assert one.said[-1] == "close"


async def test_a_stop_of_feeding_leaves_the_rest(start: Start, config: Config, far: HttpServer) -> None:
    async with start(with_feeders(config, one=feeder())) as service:
        [one] = await up(1)
        await service.stop_feeding()
        assert one.said[-1] == "close"
        await service.reload(with_feeders(config, two=feeder()))
        await service.stop_feeding()

    assert [made.sessions for made in Scripted.made] == [1, 0]


# Reload


async def test_feeders_that_stay_keep_their_very_connection(start: Start, config: Config) -> None:
    async with start(with_feeders(config, stays=feeder(), leaves=feeder())) as service:
        await up(2)
        stays, leaves = sorted(live(), key=lambda one: one.name, reverse=True)
        await service.reload(with_feeders(config, stays=feeder(), comes=feeder()))
        await until(lambda: leaves.said[-1] == "close")
        new = next(one for one in await up(2) if one is not stays)

        assert new.name == "comes"
        assert leaves.said == ["open", "session", "drain", "ended", "close"]
        assert stays.said == ["open", "session"]
        assert [one.name for one in Scripted.made if one.name == "stays"] == ["stays"]


async def test_a_changed_feeder_begins_when_the_old_one_has_ended(start: Start, config: Config) -> None:
    held = asyncio.Event()
    async with start(with_feeders(config, one=feeder())) as service:
        [old] = await up(1)
        old.drains = held.wait
        await service.reload(with_feeders(config, one=feeder("new")))
        await service.reload(with_feeders(config, one=feeder("newer")))
        await until(lambda: "drain" in old.said)
        await asyncio.sleep(0.05)
        assert [one.sessions for one in Scripted.made] == [1, 0, 0]
        held.set()
        await until(lambda: Scripted.made[2].live)

        assert old.said[-1] == "close"
        assert [one.sessions for one in Scripted.made] == [1, 0, 1]


@pytest.mark.parametrize(("word", "said"), [("bad", "another word"), ("broken", "ValueError")])
async def test_a_feeder_that_cannot_be_made_changes_nothing(
    start: Start, config: Config, far: HttpServer, word: str, said: str
) -> None:
    old = with_feeders(config, one=feeder(channel="hook"))
    async with start(old) as service:
        [one] = await up(1)
        for tables in ({"one": feeder(word)}, {"two": feeder(), "one": feeder(word)}):
            with pytest.raises(ConfigError, match=said) as raised:
                await service.reload(structs.replace(with_feeders(config, **tables), tenants={}))
            assert "planted" not in str(raised.value)

        assert service.config is old
        assert one.said == ["open", "session"]
        await one.take(frame())
        await until(lambda: far.posts)


async def test_a_config_that_is_refused_for_another_reason_changes_no_feeder(
    start: Start, config: Config, tmp_path: Path
) -> None:
    from otpsvc.channels.file import FileConfig

    bad = FileConfig(type="file", path=str(tmp_path / "codes"))
    async with start(with_feeders(config, one=feeder())) as service:
        [one] = await up(1)
        with pytest.raises(ConfigError, match="allow_plaintext"):
            await service.reload(
                structs.replace(with_feeders(config, one=feeder("new")), channels={"bad": bad})
            )
        assert one.said == ["open", "session"]
    assert [made.sessions for made in Scripted.made] == [1, 0]


async def test_a_feeder_that_names_a_file_is_made_anew(start: Start, config: Config) -> None:
    named = with_feeders(config, one=feeder(word_file="/some/file"))
    async with start(named) as service:
        [old] = await up(1)
        await service.reload(named)
        await until(lambda: old.said[-1] == "close")
        [new] = await up(1)

        assert new is not old


async def test_what_is_in_hand_of_a_tenant_that_leaves_is_done(
    start: Start, config: Config, far: HttpServer
) -> None:
    async with start(with_feeders(config, one=feeder(channel="hook"))) as service:
        [one] = await up(1)

        refused: list[bool] = []

        async def drain() -> None:
            refused.append(bool((await one.take(frame())).refusals))

        one.drains = drain
        await service.reload(structs.replace(config, tenants={"other": tenant("other")}))
        await until(lambda: one.said[-1] == "close")

        assert refused == [False]
        assert service._feeding
        assert service._feeding.states() == []


async def test_a_start_with_a_feeder_that_cannot_be_made_is_refused(start: Start, config: Config) -> None:
    with pytest.raises(ConfigError, match="another word"):
        async with start(with_feeders(config, one=feeder(), two=feeder("bad"))):
            pass
    assert not live()


# What others see


async def test_health_shows_feeders_of_all_nodes(
    start: Start, config: Config, server: ValkeyServer, keyring: Keyring
) -> None:
    whole = with_feeders(config, one=feeder(), two=feeder())

    async def shown(service: Service) -> dict[str, tuple[bool, str]]:
        health = await service.health()
        assert health.ok
        return {name: (one.ok, one.detail) for name, one in health.feeders.items()}

    async with start(whole, "api") as api:
        nobody = (False, "no process tells of it")
        assert await shown(api) == {"one": nobody, "two": nobody}
        async with start(whole, "feeders") as service:
            await up(2)
            two = next(one for one in live() if one.name == "two")
            # Nor does it come up again.
            two.ups = False
            two.ends.put_nowait(KeyError("planted"))
            expected = {"one": (True, "connected"), "two": (False, "connecting: the feeder failed: KeyError")}

            async def is_shown() -> bool:
                return await shown(api) == expected

            await until(is_shown)
            kept: Any = server.ask("GET", f"feeders:{{*}}:{service._node}")
            assert kept
            assert b"scripted" not in kept
            assert {one.node for one in await feeders(service.store, keyring).read()} == {service._node}
        assert await shown(api) == {"one": nobody, "two": nobody}
    assert await shown_without_store(config, keyring) == {}


async def test_what_a_removed_feeder_was_is_told_no_longer(start: Start, config: Config) -> None:
    async with start(with_feeders(config, stays=feeder(), leaves=feeder())) as service:
        await up(2)
        assert 'connected{feeder="leaves"} 1.0' in await metrics(service)
        await service.reload(with_feeders(config, stays=feeder(), comes=feeder()))
        await until(lambda: {one.name for one in live()} == {"stays", "comes"})

        text = await metrics(service)
        assert "leaves" not in text
        assert {'feeder="stays"', 'feeder="comes"'} <= set(re.findall('feeder="[a-z]+"', text))
        assert "otpsvc_requests_total" in text


async def metrics(service: Service) -> str:
    transport = httpx.ASGITransport(app=service.admin)
    async with httpx.AsyncClient(transport=transport, base_url="http://otp") as http:
        return (await http.get("/metrics")).text


async def shown_without_store(config: Config, keyring: Keyring) -> dict[str, Any]:
    from otpsvc.errors import StoreUnavailable
    from otpsvc.http.health import examine
    from otpsvc.stores.redis import RedisStore

    store = RedisStore("unix:///nowhere/at/all", fenced=False)

    async def told() -> dict[str, Any]:
        raise StoreUnavailable

    try:
        health = await examine(store, {}, feeders=told)
    finally:
        await store.close()
    assert not health.ok
    return dict(health.feeders)
