"""A cached yes or no for everybody; the operator's listener with every part in detail."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec import structs

from otpsvc.channel import Channel, ChannelConfig
from otpsvc.errors import StoreUnavailable, Unavailable
from otpsvc.http.health import KEPT, Pulse, build_admin, examine
from otpsvc.http.parts import Health
from otpsvc.standing import FeederHealth, FeederState, overall
from tests.http.conftest import NewDoor
from tests.http.door import Door, call


class CountedStore:
    def __init__(self) -> None:
        self.asked = 0
        self.well = True

    async def ping(self) -> str:
        self.asked += 1
        await asyncio.sleep(0)
        if not self.well:
            raise StoreUnavailable
        return "ok"


class Pinged(Channel):
    """Answers a ping as it is told."""

    def __init__(self, does: Any) -> None:
        super().__init__(ChannelConfig(type="pinged"), lambda _news: None)
        self._does = does

    async def ping(self) -> str:
        if isinstance(self._does, float):
            await asyncio.sleep(self._does)
        if isinstance(self._does, Exception):
            raise self._does
        return "3 of 4 modems ready"


async def test_the_store_is_asked_once_a_second() -> None:
    store, now = CountedStore(), [0.0]
    pulse = Pulse(store, clock=lambda: now[0])  # type: ignore[arg-type]

    await asyncio.gather(*(pulse.check() for _ in range(50)))
    assert store.asked == 1

    store.well = False
    await pulse.check()
    now[0] += KEPT
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            await pulse.check()
    assert store.asked == 2

    store.well, now[0] = True, now[0] + KEPT
    await pulse.check()


async def test_detailed_health_names_every_channel(plain_door: Door) -> None:
    plain_door.channels = {
        "well": Pinged(None),
        "down": Pinged(Unavailable("421 at connect")),
        "hangs": Pinged(5.0),
        "broken": Pinged(KeyError("planted-secret")),
    }

    answer = await plain_door.ask("GET", "/api/health", auth="", admin=True)

    health = answer.json
    shown = {name: (one["ok"], one["detail"]) for name, one in health["channels"].items()}
    assert (answer.status, health["ok"], health["warnings"]) == (200, True, ["a warning"])
    assert shown["well"] == (True, "3 of 4 modems ready")
    assert shown["down"] == (False, "421 at connect")
    assert shown["hangs"] == (False, "no answer in 0.2 s")
    assert shown["broken"][0] is False
    assert shown["broken"][1].startswith("KeyError at test_health.py:")
    assert health["versions"].keys() >= {"otpsvc", "python", "litestar"}
    assert b"planted" not in answer.body


async def test_detailed_health_has_what_was_told_of_feeders(plain_door: Door) -> None:
    told = FeederState(name="mqtt", type="mqtt", tenant="shop", node="a", state="refused", reason="no login")

    async def health() -> Health:
        return await examine(plain_door.node.store, {}, feeders=feeders)

    async def feeders() -> dict[str, FeederHealth]:
        return overall(["rabbit"], [told])

    parts = structs.replace(plain_door.parts, health=health)
    answer = await call(build_admin(parts), "GET", "/api/health", {})

    assert (answer.status, answer.json["ok"]) == (200, True)
    shown = {name: (one["ok"], one["detail"]) for name, one in answer.json["feeders"].items()}
    assert shown == {"mqtt": (False, "refused: no login"), "rabbit": (False, "no process tells of it")}


async def test_a_store_that_is_down_is_a_503_at_both_listeners(new_door: NewDoor) -> None:
    door = await new_door(url="unix:///nowhere/at/all", start=False)

    public = await door.ask("GET", "/api/health", auth="")
    detailed = await door.ask("GET", "/api/health", auth="", admin=True)

    assert (public.status, public.json["message"]) == (503, "Unable to reach store.")
    assert (detailed.status, detailed.json["ok"], detailed.json["store"]) == (
        503,
        False,
        "Unable to reach store.",
    )


async def test_metrics_and_documentation_are_the_operators(plain_door: Door) -> None:
    metrics = await plain_door.ask("GET", "/metrics", auth="", admin=True)
    page = await plain_door.ask("GET", "/docs", auth="", admin=True)
    script = await plain_door.ask("GET", "/docs/viewer.js", auth="", admin=True)
    style = await plain_door.ask("GET", "/docs/viewer.css", auth="", admin=True)
    document = await plain_door.ask("GET", "/openapi.json", auth="", admin=True)

    assert (metrics.status, metrics.body) == (200, b"# planted\n")
    assert metrics.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert [answer.status for answer in (page, script, style, document)] == [200] * 4
    assert document.json["openapi"] == "3.1.0"
    for answer in (page, script, style):
        assert "script-src 'self'" in answer.headers["content-security-policy"]
        assert b"http://" not in answer.body
        assert b"https://" not in answer.body
        assert b"innerHTML" not in answer.body
    assert b"<script>" not in page.body
    assert b"style=" not in page.body


async def test_the_admin_listener_refuses_the_rest(plain_door: Door) -> None:
    for method, path, status in (
        ("POST", "/metrics", 405),
        ("GET", "/", 404),
        ("GET", "/docs/../parts.py", 404),
        ("GET", "/docs/nothing.js", 404),
        ("PUT", "/api/otp/user-123", 405),
        ("GET", "/api/otp/user-123", 404),
    ):
        assert (await plain_door.ask(method, path, admin=True)).status == status, path
    head = await plain_door.ask("HEAD", "/metrics", admin=True)
    assert (head.status, head.body) == (200, b"")


async def test_metrics_that_fail_say_where_and_nothing_else(plain_door: Door) -> None:
    def metrics() -> bytes:
        raise ValueError("planted-secret")

    answer = await call(
        build_admin(structs.replace(plain_door.parts, metrics=metrics)), "GET", "/metrics", {}
    )

    assert answer.status == 500
    assert answer.body.startswith(b"ValueError at test_health.py:")
    assert b"planted" not in answer.body


async def test_documentation_on_the_public_listener_by_wish(new_door: NewDoor) -> None:
    door = await new_door(open_docs=True)

    for path in ("/docs", "/docs/viewer.js", "/docs/viewer.css", "/openapi.json"):
        assert (await door.ask("GET", path, auth="")).status == 200
    assert (await door.ask("GET", "/metrics", auth="")).status == 404


async def test_the_lifespan_of_the_admin_application(plain_door: Door) -> None:
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await plain_door.admin({"type": "lifespan"}, receive, send)

    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
