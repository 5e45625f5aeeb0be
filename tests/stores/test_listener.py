from __future__ import annotations

import asyncio
import time

import pytest

from otpsvc.stores.connection import Connector
from otpsvc.stores.listener import Listener
from tests.far_ends.cut_proxy import CutProxy
from tests.far_ends.valkey import ValkeyServer
from tests.stores.callers import PLANTED, until


async def heard_after(server: ValkeyServer, inbox: list[bytes], payload: str) -> bool:
    """Whether a payload arrives; published again and again, for what is published too early is lost."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        server.ask("PUBLISH", "wake", payload)
        await asyncio.sleep(0.01)
        if payload.encode() in inbox:
            return True
    return False


async def test_a_listener_hears_and_comes_back_after_a_restart(server: ValkeyServer) -> None:
    inbox: list[bytes] = []
    listener = Listener(Connector(server.url), "wake", inbox.append)
    listener.start()

    assert await heard_after(server, inbox, "one")
    server.restart()
    assert await heard_after(server, inbox, "two")
    await listener.close()
    await listener.close()


async def test_a_listener_survives_a_bug_of_the_hearer_without_quoting(
    server: ValkeyServer, caplog: pytest.LogCaptureFixture
) -> None:
    inbox: list[bytes] = []

    def hear(payload: bytes) -> None:
        if payload == PLANTED.encode():
            raise ValueError(payload)
        inbox.append(payload)

    listener = Listener(Connector(server.url), "wake", hear)
    listener.start()
    await asyncio.wait_for(listener.subscribed.wait(), 30)
    server.ask("PUBLISH", "wake", PLANTED)

    assert await heard_after(server, inbox, "good")
    assert caplog.messages == ["a payload was not understood: ValueError"]
    assert PLANTED not in caplog.text
    await listener.close()


async def test_a_listener_leaves_a_line_that_has_gone_silent(server: ValkeyServer, proxy: CutProxy) -> None:
    inbox: list[bytes] = []
    listener = Listener(Connector(proxy.url), "wake", inbox.append, quiet=0.1)
    listener.start()
    await asyncio.wait_for(listener.subscribed.wait(), 30)
    await asyncio.sleep(0.5)
    assert proxy.accepted == 1, "an idle line that answers PING is kept"

    await proxy.misbehave("hangs")
    await until(lambda: proxy.accepted == 2)
    assert await heard_after(server, inbox, "again")
    await listener.close()
