"""Who may ask: one 401 for all, remembered logins, a bucket for failed ones."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest

from otpsvc.credential import hash_chosen, new_secret
from otpsvc.errors import HashPoolFull, Limited, Unauthorized
from otpsvc.hashpool import Cost, HashPool
from otpsvc.http.auth import BURST, REFILL, Authenticator
from otpsvc.tenant import Secret, Tenant

CHEAP = Cost(memory=64, passes=1)
SLOW = Secret(hash_chosen("chosen-secret", cost=CHEAP))
SLOW_TOO = Secret(hash_chosen("older-secret", cost=CHEAP))
FAST = Secret("plain-secret", plain=True)


def header(text: str) -> bytes:
    return b"Basic " + base64.b64encode(text.encode())


class CountingPool(HashPool):
    """Counts the hashes that were asked of it."""

    def __init__(self) -> None:
        super().__init__(threads=1)
        self.hashes = 0
        self.full = False

    async def run(self, work: Callable[..., Any], *args: Any) -> Any:
        if self.full:
            raise HashPoolFull
        self.hashes += len(args[0]) + len(args[1])
        return await super().run(work, *args)


class Place:
    def __init__(self, **secrets: tuple[Secret, ...]) -> None:
        self.tenants = {name: Tenant(name=name, secrets=kept) for name, kept in secrets.items()}
        self.pool = CountingPool()
        self.now = 0.0
        self.auth = Authenticator(lambda: self.tenants, self.pool, clock=lambda: self.now)

    async def refused(self, authorization: bytes | None, source: str = "192.0.2.1") -> bool:
        with pytest.raises(Unauthorized) as caught:
            await self.auth.tenant(authorization, source)
        return caught.value.args == ("Invalid API credentials.",)


async def test_right_credentials_are_remembered() -> None:
    place = Place(shop=(SLOW,))
    good = header("shop:chosen-secret")

    assert place.auth.known(good) is None
    assert (await place.auth.tenant(good, "")).name == "shop"
    assert place.auth.known(good) is place.tenants["shop"]
    assert (await place.auth.tenant(good, "")).name == "shop"
    assert place.pool.hashes == 1


async def test_every_secret_of_a_tenant_is_valid() -> None:
    secret, kept = new_secret()
    place = Place(shop=(Secret(kept), SLOW, FAST))

    for given in (secret, "chosen-secret", "plain-secret"):
        assert (await place.auth.tenant(header(f"shop:{given}"), "")).name == "shop"


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        b"",
        b"Basic",
        b"Basic !!!",
        b"Basic c2hvcA==",
        header("shop:wrong-secret"),
        header("shop:"),
        header("mallory:plain-secret"),
        header(":plain-secret"),
        header("bank:plain-secret"),
        b"Basic " + base64.b64encode(b"shop:\xff\xfe"),
        b"Bearer " + base64.b64encode(b"shop:plain-secret"),
        b"Basic " + base64.b64encode(b"shop:" + b"x" * 5000),
        header("nobody:anything"),
    ],
)
async def test_everything_else_is_one_refusal(authorization: bytes | None) -> None:
    place = Place(shop=(FAST,), bank=(SLOW,), nobody=())

    assert await place.refused(authorization)
    assert place.auth.known(authorization) is None


async def test_a_colon_may_be_part_of_the_secret_and_basic_in_any_case() -> None:
    place = Place(shop=(Secret("a:b:c-secret", plain=True),))

    assert (
        await place.auth.tenant(header("shop:a:b:c-secret").replace(b"Basic", b"bASIC"), "")
    ).name == "shop"


async def test_unknown_tenants_cost_as_many_hashes_as_wrong_secrets() -> None:
    place = Place(shop=(FAST,), bank=(SLOW, SLOW_TOO), club=(SLOW,))
    costs = []
    for name in ("shop", "bank", "club", "mallory"):
        before = place.pool.hashes
        await place.refused(header(f"{name}:wrong-secret"))
        costs.append(place.pool.hashes - before)

    assert costs == [2, 2, 2, 2]


async def test_without_slow_secrets_nobody_hashes_slowly() -> None:
    place = Place(shop=(FAST,))

    await place.refused(header("mallory:x"))
    await place.refused(header("shop:x"))
    assert place.pool.hashes == 0


async def test_another_tenants_secret_opens_nothing_through_the_dummy() -> None:
    place = Place(shop=(FAST,), bank=(SLOW,))

    assert await place.refused(header("mallory:chosen-secret"))
    assert await place.refused(header("shop:chosen-secret"))


async def test_a_changed_secret_is_noticed_at_once() -> None:
    place = Place(shop=(FAST, SLOW))
    good = header("shop:plain-secret")
    await place.auth.tenant(good, "")

    place.tenants = {"shop": Tenant(name="shop", secrets=(SLOW,))}

    assert place.auth.known(good) is None
    assert await place.refused(good)


async def test_a_reload_of_the_same_secrets_keeps_the_login() -> None:
    place = Place(shop=(SLOW,))
    good = header("shop:chosen-secret")
    await place.auth.tenant(good, "")

    place.tenants = {"shop": Tenant(name="shop", secrets=(Secret(SLOW.value),), title="New")}

    assert place.auth.known(good) is place.tenants["shop"]
    place.auth.flush()
    assert place.auth.known(good) is None


async def test_a_removed_tenant_is_unknown() -> None:
    place = Place(shop=(FAST,))
    good = header("shop:plain-secret")
    await place.auth.tenant(good, "")

    place.tenants = {}

    assert await place.refused(good)


async def test_failed_logins_of_one_source_are_limited() -> None:
    place = Place(shop=(FAST,))
    for _ in range(BURST):
        await place.refused(header("shop:wrong-secret"))

    with pytest.raises(Limited) as caught:
        await place.auth.tenant(header("shop:plain-secret"), "192.0.2.1")
    assert (caught.value.code, caught.value.retry_after) == ("too_many_logins", 2)
    assert await place.refused(header("shop:wrong-secret"), "192.0.2.2")

    place.now += REFILL
    assert (await place.auth.tenant(header("shop:plain-secret"), "192.0.2.1")).name == "shop"


async def test_right_logins_use_nothing_up() -> None:
    place = Place(shop=(FAST,))
    for _ in range(BURST * 3):
        place.auth.flush()
        assert (await place.auth.tenant(header("shop:plain-secret"), "192.0.2.1")).name == "shop"


async def test_a_remembered_login_passes_a_source_that_fails() -> None:
    place = Place(shop=(FAST,))
    await place.auth.tenant(header("shop:plain-secret"), "192.0.2.1")
    for _ in range(BURST):
        await place.refused(header("shop:wrong-secret"))

    assert (await place.auth.tenant(header("shop:plain-secret"), "192.0.2.1")).name == "shop"


async def test_a_full_pool_is_busy_not_wrong() -> None:
    place = Place(shop=(SLOW,))
    place.pool.full = True

    with pytest.raises(HashPoolFull):
        await place.auth.tenant(header("shop:chosen-secret"), "")


async def test_memory_is_bounded() -> None:
    place = Place(shop=(FAST,))
    for number in range(10_050):
        await place.refused(header("shop:wrong-secret"), f"192.0.2.{number}")
    secret = Secret("x" * 10, plain=True)
    place.tenants = {
        f"shop{number}": Tenant(name=f"shop{number}", secrets=(secret,)) for number in range(4200)
    }
    for name in place.tenants:
        await place.auth.tenant(header(f"{name}:{'x' * 10}"), "a")

    assert len(place.auth._failures._full) <= 10_000
    assert len(place.auth._seen) == 4096
