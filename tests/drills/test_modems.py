"""A service with modems: killed, stopped and restarted in the middle, and what it leaves behind."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from otpsvc.gsm.emulator import EmulatedModem, Network
from tests.drills.api import Api
from tests.drills.conftest import Enter, NewPlace, Store
from tests.drills.ends import eventually
from tests.drills.place import table, tenant

TO = "+6281234567890"
SENDER = "+6281298765432"
PIN = "7391"
SCOPES = ["otp", "sms", "inbox", "modems"]
PATIENCE = 60.0


def sms(modem: EmulatedModem, **more: Any) -> str:
    shared = {"type": "gsm", "patience": 0.5, "inbox": "shop", **more}
    own = {"device": str(modem.link)} | ({"pin": PIN} if modem.sim.pin else {})
    return table("channels.sms", **shared) + table("channels.sms.modems.one", **own)


async def plugged_in(enter: Enter, net: Network, **options: Any) -> EmulatedModem:
    modem: EmulatedModem = await enter(EmulatedModem(net, **options))
    return modem


async def post(api: Api, text: str, to: str = TO) -> str:
    body = json.dumps({"to": to, "text": text}).encode()
    answer = await api.ask("POST", "/api/messages", data=body, headers={"Content-Type": "application/json"})
    assert answer.status == 202, answer.raw
    return str(answer.record["id"])


async def ended(api: Api, id: str) -> Any:
    async with asyncio.timeout(PATIENCE):
        while (found := (await api.ask("GET", f"/api/messages/{id}")).record)["state"] in (
            "queued",
            "sending",
        ):
            await asyncio.sleep(0.05)
    return found


async def test_killed_while_the_radio_sends(enter: Enter, new_place: NewPlace) -> None:
    """Nobody knows what the network did: it is sent once more, and the doubt is told."""
    net = Network(latency=2.0)
    modem = await plugged_in(enter, net)
    place = await new_place(tenant("shop", scopes=SCOPES), sms(modem))
    first = await place.serve()
    id = await post(first.api, "by radio")
    await eventually(lambda: modem.handed, PATIENCE)
    first.kill()
    net.latency = 0.0
    second = await place.serve()

    found = await ended(second.api, id)
    assert (found["state"] in ("sent", "delivered"), found["uncertain"]) == (True, 1)
    assert {text.text for text in net.sent} == {"by radio"}
    assert len(net.sent) <= 2


async def test_killed_while_texts_wait_for_a_modem(enter: Enter, new_place: NewPlace) -> None:
    net = Network(latency=0.0)
    modem = await plugged_in(enter, net)
    place = await new_place(tenant("shop", scopes=SCOPES), sms(modem, patience=30.0))
    await modem.unplug()
    first = await place.serve()
    ids = [await post(first.api, f"text {at}") for at in range(5)]
    await eventually(lambda: first.log.count('"POST"') >= 5, PATIENCE)
    first.kill()
    second = await place.serve()
    await modem.plug()

    assert {(await ended(second.api, id))["state"] for id in ids} <= {"sent", "delivered"}
    assert sorted(text.text for text in net.sent) == [f"text {at}" for at in range(5)]


async def test_stopped_while_texts_wait_for_a_modem(enter: Enter, new_place: NewPlace) -> None:
    """What surely did not leave is no doubt."""
    net = Network(latency=0.0)
    modem = await plugged_in(enter, net)
    place = await new_place(tenant("shop", scopes=SCOPES), sms(modem, patience=30.0))
    await modem.unplug()
    first = await place.serve()
    ids = [await post(first.api, f"text {at}") for at in range(5)]
    await asyncio.sleep(1.0)
    await first.stop()
    second = await place.serve()
    await modem.plug()

    ends = [await ended(second.api, id) for id in ids]
    assert [(end["state"] in ("sent", "delivered"), end["uncertain"]) for end in ends] == [(True, 0)] * 5
    assert sorted(text.text for text in net.sent) == [f"text {at}" for at in range(5)]


async def test_nothing_that_is_secret_is_left_behind(enter: Enter, new_place: NewPlace) -> None:
    """Codes, texts, numbers, PIN: neither in logs at debug level, nor in metrics, nor in the store."""
    store: Store = await enter(Store())
    net = Network(latency=0.0)
    modem = await plugged_in(enter, net, pin=PIN)
    place = await new_place(tenant("shop", scopes=SCOPES), sms(modem), store=store.url)
    service = await place.serve()
    api = service.api
    await api.put("planted-user-1", provider="sms", to=TO)
    await eventually(lambda: net.sent, PATIENCE)
    code = next(word.strip(".") for word in net.sent[0].text.split() if word.strip(".").isdigit())
    id = await post(api, "planted words of a message")
    await ended(api, id)
    modem.fail_next("CMS 500")
    await ended(api, await post(api, "planted words of a message, again"))
    net.call(modem.number, "planted words from outside", SENDER)
    async with asyncio.timeout(PATIENCE):
        while not (await api.ask("GET", "/api/inbox")).record["texts"]:
            await asyncio.sleep(0.05)
    await api.ask("PUT", f"/api/blocks/{SENDER}")
    told = [service.log.encode(), (await service.admin.ask("GET", "/metrics", tenant="")).raw]
    secrets = [
        code,
        TO[1:],
        SENDER[1:],
        "planted words",
        "planted-user",
        PIN,
        modem.number[1:],
        modem.sim.iccid,
    ]
    # A code is digits, as times and ids are: only as a word of its own.
    for place_of in (*told, *everything(store)):
        for secret in secrets:
            assert secret.encode() not in place_of.replace(b'"', b" ") or is_by_chance(secret, place_of), (
                secret
            )


def is_by_chance(secret: str, where: bytes) -> bool:
    """Six or four digits stand in every time stamp and random number."""
    if len(secret) > 6:
        return False
    text = where.decode("latin-1")
    words = "".join(char if char.isalnum() else " " for char in text).split()
    return secret not in words


def everything(store: Store) -> list[bytes]:
    found: list[bytes] = []
    reads: dict[bytes, Any] = {
        b"string": lambda key: [store.ask("GET", key)],
        b"hash": lambda key: [part for pair in dict(store.ask("HGETALL", key)).items() for part in pair],
        b"zset": lambda key: store.ask("ZRANGE", key, 0, -1),
        b"set": lambda key: list(store.ask("SMEMBERS", key)),
        b"list": lambda key: store.ask("LRANGE", key, 0, -1),
    }
    for key in store.ask("KEYS", "*"):
        kind = store.ask("TYPE", key)
        if kind != b"none":
            found += [key, *reads[kind](key)]
    assert len(found) > 10
    return found
