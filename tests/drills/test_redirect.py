"""A PUT to another address while the message to the first one waits: nobody delivers yet."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from otpsvc.letter import derived, destination, shape
from otpsvc.token import Subject
from tests.drills.conftest import Store
from tests.drills.ends import Hook
from tests.drills.place import Place, Service, tenant, webhook
from tests.waiting import until

A, B = "a@home.example", "b@home.example"
Deliver = Callable[[], Awaitable[None]]


@pytest.fixture(scope="module")
async def hook() -> AsyncIterator[Hook]:
    async with Hook() as far:
        yield far


@pytest.fixture(scope="module")
async def place(store: Store, hook: Hook) -> AsyncIterator[Place]:
    async with Place(tenant("shop"), webhook("mail", hook.url), store=store.url) as place:
        await place.serve(only="api")
        yield place


@pytest.fixture
def service(place: Place, hook: Hook) -> Service:
    hook.posts.clear()
    return place.services[0]


@pytest.fixture
async def deliver(place: Place) -> AsyncIterator[Deliver]:
    """Start to deliver, until the test ends."""
    started: list[Service] = []

    async def start() -> None:
        started.append(await place.serve(only="delivery"))

    yield start
    for service in started:
        await service.end()


def _derived(place: Place, id: str, *, gen: str, to: str) -> str:
    """The code that the service makes; the store does not have it."""
    dest = destination(place.keyring, to)
    of = Subject("shop", id)
    return derived(place.keyring.active, of, bytes.fromhex(gen), dest, shape(6, "digits"))


@pytest.mark.parametrize("kind", ["supplied", "same", "derived"])
async def test_a_put_to_another_address_kills_code_and_message_of_the_first(
    place: Place, service: Service, hook: Hook, deliver: Deliver, kind: str
) -> None:
    api, id = service.api, f"user-{kind}"
    codes = {"supplied": ("135790", "246801"), "same": ("135790", "135790")}.get(kind)
    first = (await api.put(id, to=A, **({"otp": codes[0]} if codes else {}))).record
    assert first["message"]["state"] == "queued"
    assert (await api.check(id, "wrong1")).record["attempts"] == 1
    second = (await api.put(id, to=B, **({"otp": codes[1]} if codes else {}))).record
    assert second["gen"] != first["gen"]
    assert (second["generate"], second["to"]) == (2, B)
    assert (await api.read(id)).record["attempts"] == 1, "counters are not reset"

    code_a, code_b = codes or (
        _derived(place, id, gen=record["gen"], to=to) for record, to in ((first, A), (second, B))
    )
    if code_a != code_b:
        wrong = await api.check(id, code_a)
        assert (wrong.status, wrong.code, wrong.record["attempts"]) == (400, "wrong_code", 2)

    await deliver()
    await until(lambda: hook.posts)
    assert (await api.settled(id))["message"]["state"] == "sent"
    assert [(post.json["data"]["to"], post.json["data"]["code"]) for post in hook.posts] == [(B, code_b)]
    if code_a != code_b:
        assert (await api.check(id, code_a)).code == "wrong_code"
    assert (await api.check(id, code_b)).status == 200
    assert len(hook.posts) == 1


async def test_back_to_the_first_address_is_a_third_generation(
    place: Place, service: Service, hook: Hook, deliver: Deliver
) -> None:
    api = service.api
    gens = [(await api.put("there-and-back", to=to)).record["gen"] for to in (A, B, A)]
    assert len(set(gens)) == 3
    old, _, new = (
        _derived(place, "there-and-back", gen=gen, to=to) for gen, to in zip(gens, (A, B, A), strict=True)
    )
    if old != new:
        assert (await api.check("there-and-back", old)).code == "wrong_code"

    await deliver()
    await until(lambda: hook.posts)
    assert (await api.settled("there-and-back"))["message"]["state"] == "sent"
    assert [(post.json["data"]["to"], post.json["data"]["code"]) for post in hook.posts] == [(A, new)]
    assert (await api.check("there-and-back", new)).status == 200
    assert (await api.status("there-and-back", gen=gens[2])).status == 200
    assert (await api.status("there-and-back", gen=gens[0])).code == "not_found"


async def test_what_was_closed_while_it_waited_is_not_sent(
    service: Service, hook: Hook, deliver: Deliver
) -> None:
    api = service.api
    await api.put("verified-1", otp="135790")
    await api.check("verified-1", "135790")
    await api.put("locked-1", max_attempts="1")
    await api.check("locked-1", "wrong1")
    await api.put("cancelled-1")
    await api.ask("DELETE", "/api/otp/cancelled-1")
    await api.put("last-in-line")

    await deliver()
    await until(lambda: hook.posts)
    await api.settled("last-in-line")
    assert [post.json["data"]["to"] for post in hook.posts] == ["last-in-line@home.example"]
