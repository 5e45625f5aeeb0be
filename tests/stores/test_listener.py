from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from otpsvc.errors import StoreUnavailable
from otpsvc.stores.connection import Connector, Line
from otpsvc.stores.listener import Listener
from tests.far_ends.cut_proxy import CutProxy
from tests.far_ends.valkey import ValkeyServer
from tests.stores.callers import PLANTED
from tests.waiting import until


async def heard_after(server: ValkeyServer, inbox: list[bytes], payload: str) -> bool:
    """Published again and again until it arrives, for what is published too early is lost."""

    def arrived() -> bool:
        server.ask("PUBLISH", "wake", payload)
        return payload.encode() in inbox

    return bool(await until(arrived))


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
    await until(listener.subscribed.is_set)
    server.ask("PUBLISH", "wake", PLANTED)

    assert await heard_after(server, inbox, "good")
    assert caplog.messages == ["a payload was not understood: ValueError"]
    assert PLANTED not in caplog.text
    await listener.close()


async def test_a_listener_leaves_a_line_that_has_gone_silent(server: ValkeyServer, proxy: CutProxy) -> None:
    inbox: list[bytes] = []
    listener = Listener(Connector(proxy.url), "wake", inbox.append, quiet=0.1)
    listener.start()
    await until(listener.subscribed.is_set)

    await proxy.misbehave("hangs")
    await until(lambda: proxy.accepted >= 2)
    assert await heard_after(server, inbox, "again")
    await listener.close()


class Idle(Connector):
    """Its lines answer as planned; None: nothing came for a while."""

    def __init__(self, *plans: Sequence[Any]) -> None:
        super().__init__("redis://nowhere.example")
        self.plans = [list(plan) for plan in plans]
        self.sent: list[list[str]] = []

    async def open(self) -> Line:
        if not self.plans:
            raise StoreUnavailable
        plan, sent = self.plans.pop(0), list[str]()
        self.sent.append(sent)

        class Planned(Line):
            async def send(self, *command: bytes | str | int) -> None:
                sent.append(str(command[0]))

            async def read(self, timeout: float) -> Any:
                return plan.pop(0) if plan else None

            async def close(self) -> None:
                sent.append("closed")

        return Planned(None)


async def test_an_idle_line_is_kept_as_long_as_it_answers() -> None:
    pong, inbox = [b"pong", b""], list[bytes]()
    kept = [None, pong] * 3
    connector = Idle([[b"subscribe"], *kept, [b"message", b"wake", b"one"], *kept], [])
    listener = Listener(connector, "wake", inbox.append)
    listener.start()
    await until(lambda: len(connector.sent) == 2 and connector.sent[1][-1:] == ["closed"])
    await listener.close()

    # Two silences one after another end it: the one before PING, and the one after.
    assert connector.sent == [["SUBSCRIBE", *["PING"] * 7, "closed"], ["SUBSCRIBE", "PING", "closed"]]
    assert inbox == [b"one"]
