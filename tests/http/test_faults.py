"""Bugs, a store that is away, full pools; and what the log says of all that."""

from __future__ import annotations

import time

from otpsvc.tenant import Codes
from otpsvc.view import View
from tests.far_ends.cut_proxy import CutProxy
from tests.far_ends.valkey import ValkeyServer
from tests.http.conftest import NewDoor, shop
from tests.http.door import Answer, Door, basic
from tests.waiting import until

ADDRESS = "anna@home.example"


class Failing:
    """A verifier's store with a bug that quotes what nobody should read."""

    async def read(self, *_: object) -> View:
        planted_local = "code 246810"
        raise RuntimeError(f"planted {ADDRESS} {planted_local}")


async def test_a_bug_is_a_500_that_says_nothing(plain_door: Door) -> None:
    plain_door.node.verifier.store = Failing()  # type: ignore[assignment]

    answer = await plain_door.ask("GET", "/api/otp/user-123")

    line = plain_door.lines[-1]
    assert (answer.status, answer.code) == (500, "internal")
    assert (
        answer.json["data"]
        == {"request_id": line.request_id}
        == {"request_id": answer.headers["x-request-id"]}
    )
    assert line.failure.startswith("RuntimeError at test_faults.py:")
    assert "calls.py" in line.failure
    for secret in (ADDRESS, "246810", "planted", "user-123"):
        assert secret not in answer.body.decode() + repr(line)


async def test_a_silent_store_is_a_503_within_a_second(new_door: NewDoor, server: ValkeyServer) -> None:
    async with CutProxy(server.path) as proxy:
        door = await new_door(url=proxy.url, start=False)

        async def made() -> bool:
            # The limit holds for its first line to the store too, which may take longer.
            return (await door.put(otp="246810")).status == 200

        await until(made)
        await proxy.misbehave("hangs", times=None)
        began = time.monotonic()

        answer = await door.check("000000")

        assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "store_unavailable", "1")
        # The limit is 0.9 seconds; a busy machine adds to it.
        assert time.monotonic() - began < 30
        await proxy.behave()
        proxy.cut()

        async def answered() -> Answer | None:
            # Under one key: an answer that came too late is the first one's, and is given again.
            fields, key = {"otp": "246810"}, {"idempotency-key": "k1"}
            again = await door.ask("POST", "/api/otp/user-123", fields, headers=key)
            return again if again.status != 503 else None

        assert (await until(answered)).status == 200


async def test_a_full_hash_pool_is_a_503_that_counts_nothing(new_door: NewDoor) -> None:
    door = await new_door(shop(codes=Codes(hash="argon2id")))
    await door.put(otp="246810")
    door.node.pool._most = 0

    full = await door.check("000000")
    door.node.pool._most = 256

    assert (full.status, full.code) == (503, "hash_pool_full")
    assert (await door.check("000000")).json["data"]["attempts"] == 1


async def test_failed_logins_end_in_429(plain_door: Door) -> None:
    for _ in range(30):
        assert (await plain_door.ask("GET", "/api/providers", auth=basic(secret="no"))).status == 401

    answer = await plain_door.ask("GET", "/api/providers", auth=basic(secret="no"))
    elsewhere = await plain_door.ask(
        "GET", "/api/providers", auth=basic(secret="no"), client=("192.0.2.9", 5)
    )

    assert (answer.status, answer.code) == (429, "too_many_logins")
    assert int(answer.headers["retry-after"]) in {1, 2}
    assert elsewhere.status == 401


async def test_one_line_a_request_that_names_nobody(door: Door) -> None:
    await door.put(otp="246810")
    await door.check("000000")
    await door.ask("POST", "/api/otp/user-123/status", {})
    await door.ask("GET", "/api/otp/user-123?t=planted-query")
    await door.ask("GET", "/otp/shop/user-123?t=planted-query", auth="")
    await door.ask("GET", "/planted/path", auth="")

    shown = [(line.method, line.route, line.status, line.code, line.tenant) for line in door.lines]
    assert shown == [
        ("PUT", "/api/otp/{id}", 200, "", "shop"),
        ("POST", "/api/otp/{id}", 400, "wrong_code", "shop"),
        ("POST", "/api/otp/{id}/status", 400, "not_verified", "shop"),
        ("GET", "/api/otp/{id}", 200, "", "shop"),
        ("GET", "/otp/{namespace}/{id}", 404, "", ""),
        ("GET", "?", 404, "unknown_route", ""),
    ]
    assert {line.client for line in door.lines} == {"127.0.0.0/24"}
    assert len({line.request_id for line in door.lines}) == 6
    assert all(0 < line.seconds < 60 and not line.failure for line in door.lines)
    assert "planted" not in repr(door.lines)
    assert "user-123" not in repr(door.lines)


async def test_the_client_behind_our_proxy_is_what_is_logged(new_door: NewDoor) -> None:
    door = await new_door(trusted_proxies=("127.0.0.0/8", "unix"))
    forwarded = {"x-forwarded-for": "6.6.6.6, 203.0.113.77"}

    await door.ask("GET", "/", headers=forwarded)
    await door.ask("GET", "/", headers=forwarded, client=None)
    await door.ask("GET", "/", headers=forwarded, client=("192.0.2.1", 5))

    assert [line.client for line in door.lines] == ["203.0.113.0/24", "203.0.113.0/24", "192.0.2.0/24"]
