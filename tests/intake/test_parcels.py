"""Commands between nodes: known for as long as whoever carries them could bring them again."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from otpsvc.errors import StoreUnavailable
from otpsvc.feeder import Frame
from otpsvc.parcel import Parcels
from otpsvc.stores.redis import RedisStore
from tests.intake.rig import NUMBER, Rig, answered

ADDRESS = "anna@home.example"
SECRET = "s" * 32
CREATE = {"id": "user-123", "provider": "mail", "to": ADDRESS}


async def keys(rig: Rig, pattern: str) -> list[str]:
    return [key.decode() for key in await call(rig, "KEYS", pattern)]


async def call(rig: Rig, *words: str | int) -> Any:
    assert isinstance(rig.store, RedisStore)
    return await rig.store.call(*words)


def parcel(data: dict[str, Any], *, until: float, id: str = "p-1", command: str = "send-sms") -> Frame:
    body = json.dumps({"command": command, "data": data}).encode()
    return Frame(body=Parcels(SECRET).close(body, id=id, until=until), asked=True)


@pytest.mark.parametrize("expiration", [None, 7200])
async def test_a_parcel_is_known_to_its_end(rig: Rig, expiration: int | None) -> None:
    now = time.time()
    data = {"receiver": NUMBER, "message": "x"} | ({"expiration": now + expiration} if expiration else {})
    taken = await rig.intake(secret=SECRET).take(parcel(data, until=now + 90_000))
    message = await rig.store.message("shop", taken.notes[0].message)
    (key,) = await keys(rig, "once:*raw*")

    assert await call(rig, "PTTL", key) > 89_000_000
    assert message is not None
    # A repeat is known by its message, which must be there too.
    kept = await call(rig, "PTTL", f"msg:{{shop}}:{taken.notes[0].message}")
    assert kept > 89_000_000
    assert (message.deadline - message.created) / 1000 <= (expiration or 90_000) + 1


async def test_a_message_ends_with_its_parcel(rig: Rig) -> None:
    now = time.time()
    data = {"receiver": NUMBER, "message": "x", "expiration": now + 7200}
    taken = await rig.intake(secret=SECRET).take(parcel(data, until=now + 60))
    message = await rig.store.message("shop", taken.notes[0].message)

    assert message is not None
    assert (message.deadline - message.created) / 1000 <= 61


async def test_a_question_is_known_by_the_id_inside(rig: Rig) -> None:
    """Sealed anew for another try it is the same question, by whatever way it comes."""
    until, said = time.time() + 600, []
    for id in ("p-1", "p-1", "p-2"):
        taken = await rig.intake(secret=SECRET).take(
            parcel(CREATE, until=until, id=id, command="create-verification")
        )
        said.append(answered(taken)["data"]["generate"])

    assert said == [1, 1, 2]


async def test_a_parcel_that_ends_while_it_waits(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    real, until = rig.store.enqueue, time.time() + 0.4

    async def enqueue(posting: Any) -> Any:
        if time.time() < until:
            raise StoreUnavailable("away")
        return await real(posting)

    monkeypatch.setattr(rig.store, "enqueue", enqueue)
    data = {"receiver": NUMBER, "message": "x"}

    assert (await rig.intake(secret=SECRET).take(parcel(data, until=until))).refused == "expired"
