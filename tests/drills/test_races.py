"""Many guesses at once, over two API processes, and a hash pool that is full."""

from __future__ import annotations

import asyncio
from collections import Counter

from tests.drills.api import Answer, Api
from tests.drills.conftest import Enter, NewPlace
from tests.drills.ends import Hook
from tests.drills.place import table, tenant, webhook
from tests.far_ends.valkey import free_port
from tests.waiting import until


async def at_once(api: Api, times: int, id: str, code: str, *, tenant: str = "shop") -> list[Answer]:
    """As many checks, each over a connection of its own."""
    return await asyncio.gather(*(api.check(id, code, tenant=tenant) for _ in range(times)))


async def test_exactly_as_many_guesses_as_allowed_and_exactly_one_winner(
    enter: Enter, new_place: NewPlace
) -> None:
    hook: Hook = await enter(Hook())
    place = await new_place(tenant("shop"), webhook("mail", hook.url))
    service = await place.serve(workers=2, listen=f"127.0.0.1:{free_port()}")
    api = service.api
    before = service.worked()

    await api.put("guessed", otp="135790", max_attempts="5")
    answers = Counter(answer.code for answer in await at_once(api, 500, "guessed", "246801"))
    assert answers == {"wrong_code": 5, "locked": 495}
    record = (await api.read("guessed")).record
    assert (record["attempts"], record["state"]) == (5, "locked")
    assert (await api.check("guessed", "135790")).code == "locked"

    await api.put("right-one", otp="135790")
    won = await at_once(api, 100, "right-one", "135790")
    assert Counter(answer.status for answer in won) == {200: 1, 400: 99}
    assert {answer.code for answer in won if answer.status == 400} == {"closed"}
    assert (await api.read("right-one")).record["attempts"] == 1

    mixed = await asyncio.gather(
        api.put("mixed-up", otp="135790", max_attempts="5"),
        *(api.check("mixed-up", "246801") for _ in range(50)),
        *(api.check("mixed-up", "135790") for _ in range(50)),
    )
    evaluated = sum(answer.code in ("", "wrong_code") for answer in mixed[1:])
    assert evaluated <= 5
    assert sum(answer.status == 200 for answer in mixed[1:]) <= 1

    work = sorted(seconds - before.get(pid, 0.0) for pid, seconds in service.worked().items())
    assert work[-2] >= 0.03, f"one of the two API processes did nothing: {work}"


async def test_a_full_hash_pool_burns_no_attempt_and_holds_up_no_status(
    enter: Enter, new_place: NewPlace
) -> None:
    hook: Hook = await enter(Hook())
    slow = table("tenants.slow.codes", hash="argon2id")
    place = await new_place(tenant("slow"), slow, webhook("mail", hook.url))
    service = await place.serve()
    api = service.api
    for id in ("guessed", "patient"):
        await api.put(id, tenant="slow", otp="135790", max_attempts="10")

    flood = [asyncio.ensure_future(api.check("guessed", "246801", tenant="slow")) for _ in range(300)]
    await until(lambda: any(answer.status == 503 for answer in api.answers))
    guesses = [asyncio.ensure_future(api.check("patient", "246801", tenant="slow")) for _ in range(30)]
    reads: list[Answer] = []
    while len(reads) < 20:
        reads.append(await api.read("patient", tenant="slow"))
        reads.append(await api.status("patient", tenant="slow"))
    # So none of them waited for what was in the pool before it.
    assert not all(guess.done() for guess in flood), "the pool is busy all the time"
    await until(lambda: any(guess.done() and guess.result().status == 503 for guess in guesses))

    attempts = (await api.read("patient", tenant="slow")).record["attempts"]
    answers = [guess.result() for guess in guesses if guess.done()]
    refused = [answer for answer in answers if answer.code == "hash_pool_full"]
    assert refused
    assert attempts <= len(guesses) - len(refused), "a refusal burns no attempt"
    assert {(answer.status, answer.headers["Retry-After"]) for answer in refused} == {(503, "1")}
    assert {answer.status for answer in reads[::2]} == {200}
    assert {answer.code for answer in reads[1::2]} == {"not_verified"}
    for guess in (*flood, *guesses):
        guess.cancel()
    await asyncio.gather(*flood, *guesses, return_exceptions=True)
    service.kill()
