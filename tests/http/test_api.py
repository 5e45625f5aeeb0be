"""The calls of the API, over both ways inside."""

from __future__ import annotations

from typing import Any
from tests.http.door import Door, basic


def code_of(door: Door) -> str:
    return sent(door)[-1].code


def sent(door: Door) -> list[Any]:
    outlet = door.node.courier._routes["mail"].channels[0][1]
    return outlet.taken  # type: ignore[attr-defined]


async def test_create_check_status(door: Door) -> None:
    made = await door.put()
    print(made, made.headers)
    await door.node.settled()
    bad = await door.check("000000")
    print(bad)
    good = await door.check(code_of(door))
    print(good)
    print(await door.ask("POST", "/api/otp/user-123/status", {}))
    print(await door.ask("POST", "/api/otp/user-1234/status", {}))
    print(await door.ask("GET", "/api/otp/user-123"))
    print(await door.ask("GET", "/api/otp/user-1234"))
    print(await door.ask("DELETE", "/api/otp/user-123"))
    print(await door.ask("GET", "/api/providers"))
    print(await door.ask("GET", "/api/health", auth=""))
    print(await door.ask("GET", "/", auth=""))
    x=await door.ask("PATCH", "/api/otp/user-123"); print(x, x.headers)
    x=await door.ask("PATCH", "/api/oxx"); print(x, x.headers)
    x=await door.ask("OPTIONS", "/api/otp"); print(x, x.headers)
    print(await door.ask("GET", "/api/providers", auth=basic("shop","x")))
    print(await door.ask("PUT", "/api/otp/", {"provider":"mail"}))
    print(await door.ask("PUT", "/api/otp", {"provider":"mail", "to":"q@x.example"}, headers={"idempotency-key":"k1"}))
    print(await door.ask("PUT", "/api/otp", {"provider":"mail", "to":"q@x.example"}, headers={"idempotency-key":"k1"}))
    for l in door.lines: print(l)
