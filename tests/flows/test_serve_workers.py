"""`otpsvc serve` in several processes: who dies is replaced, and nobody outlives the parent."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import aiohttp
import pytest

from tests.far_ends.valkey import ValkeyServer
from tests.flows.serving_rig import Served, check, create, is_alive, share_keyring
from tests.waiting import until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


async def replaced(served: Served, name: str) -> None:
    """End one child, and wait for its successor."""
    before = served.children()[name]
    os.kill(before, signal.SIGKILL)
    await until(lambda: served.children().get(name, before) != before, served.log)


async def status_of(http: aiohttp.ClientSession, **more: str) -> int:
    """Over a connection of its own, so that another process may take it."""
    async with http.get("/api/otp/nothing-1", headers={"Connection": "close", **more}) as answer:
        return answer.status


async def test_a_child_that_dies_is_replaced(tmp_path: Path) -> None:
    served = Served(tmp_path, "--workers", "2")
    async with served, served.client() as http:
        assert set(served.children()) == {"api 1", "api 2", "delivery", "store"}
        await create(http)
        await until(served.codes)
        assert (await check(http, "user-0001", served.codes()[0]["code"]))[0] == 200

        sent = 'otpsvc_messages_total{channel="log",final="sent",lane="otp",result="sent"}'
        await served.counted(f"{sent} 1.0")
        await replaced(served, "delivery")
        # Queued while nobody delivers; the API is not touched.
        await create(http, "user-0002")
        await until(lambda: len(served.codes()) == 2, served.log)

        await replaced(served, "api 1")
        # The other one takes all connections meanwhile.
        assert {await status_of(http) for _ in range(20)} == {404}

        # The counts of the dead stay, and all processes are added up.
        asked = 'otpsvc_requests_total{method="PUT",route="/api/otp/{id}",status="200"}'
        await served.counted(f"{asked} 2.0", f"{sent} 2.0")
        children = served.children().values()
        assert await served.stop() == 0
    assert not any(map(is_alive, children))
    assert not list(served.tmp.iterdir())
    assert "Traceback" not in served.log()


async def test_all_take_a_new_config_over_and_their_successors_too(tmp_path: Path) -> None:
    served = Served(tmp_path, "--workers", "2")
    bank = {"Authorization": aiohttp.encode_basic_auth("bank", "a long secret")}
    async with served, served.client() as http:
        assert {await status_of(http, **bank) for _ in range(5)} == {401}
        served.write(more='[tenants.bank]\nsecret = "a long secret"')
        served.signal(signal.SIGHUP)
        await served.until_said("reloaded")
        assert {await status_of(http, **bank) for _ in range(20)} == {404}

        # Broken by now: a successor is given the config that holds, not the file.
        served.write(more="[tenants")
        served.signal(signal.SIGHUP)
        await served.until_said("the config was not reloaded, the old one stays")
        await replaced(served, "api 1")
        await replaced(served, "api 2")
        assert {await status_of(http, **bank) for _ in range(10)} == {404}


async def test_nobody_outlives_the_parent(tmp_path: Path) -> None:
    served = Served(tmp_path, "--workers", "2")
    async with served:
        children = served.children()
        assert len(children) == 4
        assert [folder.stat().st_mode & 0o777 for folder in served.tmp.glob("otpsvc-metrics-*")] == [0o700]
        served.signal(signal.SIGKILL)
        await until(lambda: not any(map(is_alive, children.values())), served.log)


async def test_a_child_that_hangs_is_ended_and_replaced(tmp_path: Path) -> None:
    served = Served(tmp_path, "--workers", "2")
    async with served:
        hung = served.children()["api 2"]
        os.kill(hung, signal.SIGSTOP)
        await until(lambda: not is_alive(hung), served.log)
        await served.until_said("a process ended and is replaced")


async def test_a_parent_that_cannot_start_says_why_once(tmp_path: Path) -> None:
    with ValkeyServer(persistence="everysec") as weak:
        served = Served(tmp_path, "--workers", "2", store=weak.url)
        served.command("keys", "create")
        assert await served.begin().ended() == 1

    assert served.log().count("redis.durability") == 1
    assert "Traceback" not in served.log()


async def test_the_api_here_and_delivery_there(tmp_path: Path) -> None:
    with ValkeyServer(persistence="always") as store:
        api = Served(tmp_path / "api", "--only", "api", store=store.url)
        delivery = Served(tmp_path / "delivery", "--only", "delivery", store=store.url)
        share_keyring(api, delivery)
        async with api, delivery, api.client() as http, delivery.client() as nobody:
            await create(http)
            await until(delivery.codes, delivery.log)
            assert (await check(http, "user-0001", delivery.codes()[0]["code"]))[0] == 200
            assert not api.codes()
            with pytest.raises(aiohttp.ClientConnectorError):
                await status_of(nobody)
            await delivery.counted(
                'otpsvc_messages_total{channel="log",final="sent",lane="otp",result="sent"} 1.0'
            )


async def test_ctrl_c_at_a_terminal_ends_all_in_order(tmp_path: Path) -> None:
    served = Served(tmp_path, "--workers", "2")
    async with served, served.client() as http:
        await asyncio.gather(*(create(http, f"user-{n:04}") for n in range(50)))
        # To the whole foreground group, as a terminal does.
        os.killpg(served.pid, signal.SIGINT)
        assert await served.ended() == 0
    assert len(served.codes()) == 50
