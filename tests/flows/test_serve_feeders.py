"""Feeders under `otpsvc serve`: in one process, in one of their own, on another host."""

from __future__ import annotations

import json
import os
import signal
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.far_ends.folder_feeder import Folder, installed
from tests.far_ends.valkey import ValkeyServer
from tests.flows.serving_rig import HASH, Served, check, create, is_alive, share_keyring
from tests.waiting import until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

TENANT = f'[tenants.box]\nsecret_hash = "{HASH}"\nscopes = ["sms"]\n'


@pytest.fixture(autouse=True)
def _plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", installed(tmp_path / "site"))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "far")


def command(text: str, word: str = "send-sms") -> str:
    data = {"id": text, "msisdn": "+12025550123", "message": text}
    return json.dumps({"command": word, "data": data})


def texts(served: Served) -> list[str]:
    """What was sent of what feeders handed in."""
    return [line["text"] for line in served.codes()]


def moment(line: dict[str, Any]) -> float:
    """When it was logged, in seconds."""
    return datetime.fromisoformat(line["timestamp"]).timestamp()


async def health(served: Served) -> dict[str, Any]:
    url = f"http://127.0.0.1:{served.admin}/api/health"
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        assert answer.status == 200
        found: dict[str, Any] = await answer.json()
        return found


async def shown(served: Served, word: str, name: str = "box") -> dict[str, Any]:
    """The feeder's health, once its detail has this word."""
    found: dict[str, Any] = {}

    async def look() -> bool:
        found.update((await health(served))["feeders"].get(name, {"detail": ""}))
        return word in found["detail"]

    await until(look, lambda: f"{found} {served.log()}")
    return found


async def test_one_process_does_all(tmp_path: Path, folder: Folder) -> None:
    served = Served(tmp_path / "s", more=TENANT + folder.table())
    async with served, served.client() as http:
        folder.put("1", command("hello"))
        folder.put("2", command("?", "no-such-command"))
        folder.put("3", "no json")
        await until(lambda: folder.answer("1") and "hello" in texts(served), served.log)
        await until(lambda: folder.answer("3"), served.log)
        assert json.loads(folder.answer("1"))["response_code"] == "0000"

        found = await shown(served, "connected")
        assert found["ok"] is True
        await served.counted(
            'otpsvc_feeder_commands_total{feeder="box",outcome="done"} 1.0',
            'otpsvc_feeder_dead_letters_total{feeder="box",reason="broken_json"} 1.0',
            'otpsvc_feeder_connected{feeder="box"} 1.0',
        )
        # The rest goes on beside it.
        await create(http)

        folder.put("4", command("the last"), late=True)
        assert await served.stop() == 0
    assert "the last" in texts(served)
    assert [word for word, _ in folder.did()] == ["open", "session", "drain", "close"]
    assert "Traceback" not in served.log()


async def test_feeders_have_a_process_of_their_own(tmp_path: Path, folder: Folder) -> None:
    served = Served(tmp_path / "s", "--workers", "2", more=TENANT + folder.table())
    async with served:
        children = served.children()
        assert set(children) == {"api 1", "api 2", "delivery", "feeders", "store"}
        folder.put("1", command("one"))
        # Not earlier: whoever comes next would be handed it again.
        await until(lambda: folder.answer("1") and "one" in texts(served), served.log)
        assert {pid for _, pid in folder.did()} == {children["feeders"]}
        # Told by the process that delivers, which has the operator's listener.
        assert (await shown(served, "connected"))["ok"] is True

        os.kill(children["feeders"], signal.SIGKILL)
        await until(lambda: served.children().get("feeders", children["feeders"]) != children["feeders"])
        folder.put("2", command("two"))
        await until(lambda: folder.answer("2") and "two" in texts(served), served.log)
        # What the dead one counted stays, and its gauges are gone with it.
        metrics = await served.counted('otpsvc_feeder_commands_total{feeder="box",outcome="done"} 2.0')
        assert metrics.count("otpsvc_feeder_connected{") == 1

        # What is taken while it ends is still delivered: deliverers end last.
        folder.put("3", command("three"), late=True)
        pids = served.children().values()
        assert await served.stop() == 0
    assert texts(served) == ["one", "two", "three"]
    assert not any(map(is_alive, pids))


async def test_a_reload_brings_the_first_feeder_and_takes_the_last(tmp_path: Path, folder: Folder) -> None:
    served = Served(tmp_path / "s", "--workers", "2")
    async with served:
        assert set(served.children()) == {"api 1", "api 2", "delivery", "store"}
        served.write(more=TENANT + folder.table())
        served.signal(signal.SIGHUP)
        await served.until_said("reloaded")
        assert "feeders" in served.children()
        folder.put("1", command("one"))
        await until(lambda: "one" in texts(served), served.log)

        other = Folder(tmp_path / "other")
        served.write(more=TENANT + folder.table() + other.table("more"))
        served.signal(signal.SIGHUP)
        await served.until_said("reloaded", 2)
        await until(lambda: other.times("session") == 1, served.log)
        assert [word for word, _ in folder.did()] == ["open", "session"]

        served.write(more=TENANT)
        served.signal(signal.SIGHUP)
        await until(lambda: folder.times("close") == 1 and other.times("close") == 1, served.log)
    assert "feeders could not be started" not in served.log()


async def test_feeders_that_cannot_start_after_a_reload_end_nothing(tmp_path: Path, folder: Folder) -> None:
    served = Served(tmp_path / "s", "--workers", "2")
    async with served, served.client() as http:
        folder.say("broken")
        served.write(more=TENANT + folder.table())
        served.signal(signal.SIGHUP)
        await served.until_said("the feeders could not be started")
        await create(http)
        assert (await shown(served, "no process tells of it"))["ok"] is False

        folder.behave()
        served.signal(signal.SIGHUP)
        await served.until_said("reloaded")
        await shown(served, "connected")


async def test_a_feeder_that_is_refused_or_breaks_is_shown_and_hurts_nobody(
    tmp_path: Path, folder: Folder
) -> None:
    other = Folder(tmp_path / "other")
    folder.say("refuse", "no such login")
    served = Served(tmp_path / "s", more=TENANT + folder.table() + other.table("other"))
    async with served, served.client() as http:
        found = await shown(served, "refused")
        assert (found["ok"], found["detail"]) == (False, "refused: no such login")
        await served.until_said("feeder refused")
        refused = served.lines("feeder refused")[0]
        assert refused["reason"] == "no such login"
        other.put("1", command("one"))
        await until(lambda: "one" in texts(served), served.log)

        # Somebody put it right: a reload does not wait for as long as a refusal makes it wait.
        folder.behave()
        served.signal(signal.SIGHUP)
        await shown(served, "connected")
        [connected] = [line for line in served.lines("feeder connected") if line["feeder"] == "box"]
        assert moment(connected) - moment(refused) < 0.9 * refused["seconds"]

        folder.say("crash", "planted-secret")
        await shown(served, "the feeder failed: KeyError")
        await create(http)
        await until(lambda: len(served.codes()) == 2, served.log)
        assert (await check(http, "user-0001", served.codes()[-1]["code"]))[0] == 200
        folder.behave()
        await shown(served, "connected")
    assert other.times("session") == 1
    assert "planted-secret" not in served.log()


async def test_feeders_here_and_the_rest_there(tmp_path: Path, folder: Folder) -> None:
    more = TENANT + folder.table()
    with ValkeyServer(persistence="always") as store:
        there = Served(tmp_path / "a", "--only", "api", "--only", "delivery", store=store.url, more=more)
        here = Served(tmp_path / "b", "--only", "feeders", store=store.url, more=more)
        share_keyring(there, here)
        async with there, here, there.client() as http, here.client() as nobody:
            folder.put("1", command("one"))
            await until(lambda: "one" in texts(there), here.log)
            assert not texts(here)
            assert {pid for _, pid in folder.did()} == {here.pid}
            # Any node shows it.
            assert (await shown(there, "connected"))["ok"] is True
            await create(http)
            with pytest.raises(aiohttp.ClientConnectorError):
                await create(nobody)
