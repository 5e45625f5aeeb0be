"""The store killed with -9 and restarted, under each setting of its durability."""

from __future__ import annotations

import pytest

from tests.drills.api import Api
from tests.drills.conftest import Enter, NewPlace, Store
from tests.drills.ends import Hook
from tests.drills.place import tenant, webhook
from tests.far_ends.valkey import Persistence
from tests.waiting import until

CODE = "135790"


async def _before_the_snapshot(api: Api) -> None:
    for id in ("used-code", "guessed", "locked-one", "still-open"):
        assert (await api.put(id, otp=CODE)).status == 200
        await api.settled(id)
    await api.check("guessed", "000001")
    await api.check("locked-one", "000001")


async def _after_the_snapshot(api: Api) -> None:
    assert (await api.check("used-code", CODE)).status == 200
    for code in ("000002", "000003"):
        assert (await api.check("guessed", code)).code == "wrong_code"
    for code in ("000002", "000003", "000004", "000005"):
        assert (await api.check("locked-one", code)).code == "wrong_code"


@pytest.mark.parametrize(
    ("persistence", "durability"),
    [("always", "always"), ("everysec", "everysec"), ("snapshots", "managed"), ("none", "none")],
)
async def test_no_used_code_is_valid_again_and_no_attempt_forgotten(
    enter: Enter, new_place: NewPlace, persistence: Persistence, durability: str
) -> None:
    store: Store = await enter(Store(persistence))
    hook: Hook = await enter(Hook())
    place = await new_place(tenant("shop"), webhook("mail", hook.url), store=store.url, durability=durability)
    api = (await place.serve()).api
    await _before_the_snapshot(api)
    if persistence == "snapshots":
        # What a crash brings back: the used code open, the attempts few.
        store.ask("SAVE")
    await _after_the_snapshot(api)
    store.restart()

    async def is_back() -> bool:
        return (await api.read("still-open")).status != 503

    await until(is_back)

    used = await api.check("used-code", CODE)
    assert (used.status, used.code) in ((400, "closed"), (400, "not_found"))
    assert (await api.status("used-code")).status in ((200,) if durability == "always" else (400,))
    locked = await api.check("locked-one", CODE)
    assert locked.code in ("locked", "not_found")
    guessed = await api.check("guessed", "000004")
    still = await api.check("still-open", CODE)
    if durability == "always":
        assert guessed.record["attempts"] == 4
        assert (used.code, locked.code, still.status) == ("closed", "locked", 200)
        return
    assert guessed.code == still.code == "not_found", "void, and so no attempt is forgotten"
    read = await api.read("still-open")
    if read.status == 200:
        assert (read.record["state"], read.record["message"]["reason"]) == ("failed", "store_restarted")
    assert (await api.put("still-open", otp=CODE)).status == 200
    assert (await api.settled("still-open"))["message"]["state"] == "sent"
    assert (await api.check("still-open", CODE)).status == 200
