"""`otpsvc serve` in one process: start, drain, reload, doors."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest

from tests.far_ends.http_server import HttpServer
from tests.flows.serving_rig import ROOT, SECRET, Served, check, create, is_alive, wrong
from tests.waiting import PATIENCE, stays, until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


async def test_from_nothing_to_a_checked_code(tmp_path: Path) -> None:
    async with Served(tmp_path) as served, served.client() as http:
        await create(http)
        await until(served.codes)

        assert (await check(http, "user-0001", wrong(served.codes()[0]["code"])))[0] == 400
        status, body = await check(http, "user-0001", served.codes()[0]["code"])

        assert (status, body["data"]["closed"]) == (200, True)
        # The proof that `not_dumpable` was called, see below.
        assert core_limit(served.pid) == "0"
        assert await served.stop() == 0
    assert "Traceback" not in served.log()


async def test_kill_9_ends_the_store_too_and_loses_nothing(tmp_path: Path) -> None:
    served = Served(tmp_path)
    async with served, served.client() as http:
        await create(http)
        await until(served.codes)
        store = served.children()["store"]
        served.signal(signal.SIGKILL)
        await until(lambda: not is_alive(store))

    async with served, served.client() as http:
        assert (await check(http, "user-0001", served.codes()[0]["code"]))[0] == 200


async def test_a_store_that_died_is_started_again(tmp_path: Path) -> None:
    async with Served(tmp_path) as served, served.client() as http:
        os.kill(served.children()["store"], signal.SIGKILL)
        await served.until_said("the embedded store died and was started again")

        async def works() -> bool:
            async with http.get("/api/otp/nothing-1") as answer:
                return answer.status == 404

        await until(works, served.log)


async def test_sigterm_lets_what_runs_end(tmp_path: Path) -> None:
    begun, go_on = list[int](), asyncio.Event()

    async def begins(http: aiohttp.ClientSession, n: int) -> int:
        """A request that the service has begun to read, and whose body comes later."""

        async def body() -> AsyncIterator[bytes]:
            begun.append(n)
            await go_on.wait()
            yield b"provider=log&to=ann%40shop.example"

        headers = {"Content-Type": "application/x-www-form-urlencoded", "Content-Length": "34"}
        # It asks for the body by `100 Continue`. (RFC 9110, 10.1.1)
        async with http.put(f"/api/otp/user-1{n:03}", data=body(), headers=headers, expect100=True) as answer:
            return answer.status

    async with HttpServer() as far:
        far.misdeed = "answers_200_late"
        hook = f'[channels.hook]\ntype = "webhook"\nurl = "{far.url}"\ntimeout = 60\n'
        # Hashes that take their time.
        served = Served(tmp_path, more=hook + "[tenants.shop.codes]\nhash = 'argon2id'")
        async with served, served.client() as http:
            await create(http, provider="hook")
            await asyncio.wait_for(far.arrived.wait(), PATIENCE)
            asked = [asyncio.create_task(begins(http, n)) for n in range(20)]
            await until(lambda: len(begun) == 20, served.log)
            served.signal(signal.SIGTERM)
            await served.until_said("stopping")
            go_on.set()

            assert await asyncio.gather(*asked) == [200] * 20
            assert served.process.poll() is None
            far.release.set()
            assert await served.ended() == 0

    assert [line["result"] for line in served.lines("message") if line["channel"] == "hook"] == ["sent"]


async def test_a_second_sigterm_does_not_wait(tmp_path: Path) -> None:
    async with HttpServer() as far, AsyncExitStack() as hung:
        far.misdeed = "hangs"
        served = Served(tmp_path, more=f'[channels.hook]\ntype = "webhook"\nurl = "{far.url}"')
        async with served, served.client() as http:
            await create(http, provider="hook")
            await asyncio.wait_for(far.arrived.wait(), PATIENCE)
            # A request whose body never ends, and a message whose far end never answers.
            reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
            hung.callback(writer.close)
            auth = aiohttp.encode_basic_auth("shop", SECRET).encode()
            writer.write(b"POST /api/otp/user-0001 HTTP/1.1\r\nhost: otp\r\ncontent-length: 50\r\n")
            writer.write(
                b"content-type: application/x-www-form-urlencoded\r\n"
                b"expect: 100-continue\r\nauthorization: " + auth + b"\r\n\r\n"
            )
            assert b" 100 " in await asyncio.wait_for(reader.readline(), PATIENCE)
            served.signal(signal.SIGTERM)
            await served.until_said("stopping")
            await stays(lambda: served.process.poll() is None, served.log, seconds=0.5)

            served.signal(signal.SIGTERM)
            await served.ended()


async def test_reload_under_constant_requests(tmp_path: Path) -> None:
    served = Served(tmp_path)
    stop, statuses = asyncio.Event(), []

    async def ask(http: aiohttp.ClientSession, who: int) -> None:
        at = 0
        while not stop.is_set():
            at += 1
            async with http.put(
                f"/api/otp/user-{who}-{at}", data={"provider": "log", "to": "a@shop.example"}
            ) as answer:
                statuses.append(answer.status)

    async with served, served.client() as http:
        asking = [asyncio.create_task(ask(http, who)) for who in range(4)]
        for turn in range(1, 6):
            served.write(more=f'[tenants.bank{turn}]\nsecret = "a long secret"\n' + EXTRA[turn % 2])
            served.signal(signal.SIGHUP)
            await served.until_said("reloaded", turn)
            before = len(statuses)
            await until(lambda before=before: len(statuses) > before + 4, served.log)  # type: ignore[misc]
        (served.folder / "config.toml").write_text("[app\n")
        served.signal(signal.SIGHUP)
        await served.until_said("the config was not reloaded, the old one stays")
        before = len(statuses)
        await until(lambda: len(statuses) > before + 4, served.log)
        stop.set()
        await asyncio.gather(*asking)
        await until(lambda: len(served.codes()) == len(statuses), served.log)

    assert set(statuses) == {200}
    [refused] = served.lines("the config was not reloaded, the old one stays")
    assert "valid TOML" in refused["reason"]
    assert [line["tenants"] for line in served.lines("reloaded")] == [2] * 5


EXTRA = ("", '[channels.other]\ntype = "file"\npath = "other.jsonl"\nallow_plaintext = true')


async def test_systemd_is_told(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.setblocking(False)
        # The kernel keeps ten words for a reader (net.unix.max_dgram_qlen) and drops more: not too often.
        served = Served(tmp_path).begin(NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="1000000")
        said: list[str] = []

        def told(word: str) -> bool:
            try:
                while True:
                    said.extend(systemd.recv(4096).decode().splitlines())
            except BlockingIOError:
                return word in said

        try:
            await until(lambda: told("READY=1"), served.log)
            served.signal(signal.SIGHUP)
            await until(lambda: told("RELOADING=1") and said.count("READY=1") == 2, served.log)
            await until(lambda: told("WATCHDOG=1") and said.count("WATCHDOG=1") > 2, served.log)
            served.signal(signal.SIGTERM)
            await until(lambda: told("STOPPING=1"), served.log)
        finally:
            await served.stop()


def test_memory_is_nobody_elses() -> None:
    # The owner of what is in /proc/PID is root where a process is not dumpable. (proc(5))
    code = (
        "import ctypes, os; from pathlib import Path; from otpsvc.starting import not_dumpable;"
        "os.geteuid() or os.setuid(65534); ctypes.CDLL(None).prctl(4, 1, 0, 0, 0);"
        "before = Path('/proc/self/environ').stat().st_uid; not_dumpable();"
        "print(before == os.getuid(), Path('/proc/self/environ').stat().st_uid)"
    )
    assert run(code) == "True 0\n"


def core_limit(pid: int) -> str:
    limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return next(line for line in limits if line.startswith("Max core file size")).split()[4]


def run(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout


async def test_two_nodes_with_different_keyrings_on_one_store(tmp_path: Path) -> None:
    async with Served(tmp_path / "one") as one:
        socket_path = (one.folder / "data" / "store" / "socket").read_text()
        other = Served(tmp_path / "two", store=f"unix://{socket_path}")
        refused = other.begin()
        assert await refused.ended() == 1
        assert "otpsvc keys create" in other.log()

        other.command("keys", "create")
        other.begin()
        assert await other.ended() == 1
        assert "another keyring" in other.log()
        assert "Traceback" not in other.log()


async def test_a_lost_keyring_is_not_replaced_by_a_new_one(tmp_path: Path) -> None:
    served = Served(tmp_path)
    async with served:
        pass
    (tmp_path / "data" / "keyring.toml").unlink()

    assert await served.begin().ended() == 1

    assert "bring the keyring back" in served.log()
    assert not (tmp_path / "data" / "keyring.toml").exists()
