"""A service with modems: killed, stopped and restarted in the middle, and what it leaves behind."""

from __future__ import annotations

import json
from typing import Any

from otpsvc.gsm.emulator import EmulatedModem, Network
from tests.drills.api import Api
from tests.drills.conftest import Enter, NewPlace, Store
from tests.drills.place import table, tenant
from tests.waiting import until

TO = "+6281234567890"
SENDER = "+6281298765432"
#: As long as one may be: a shorter one may stand anywhere by chance.
PIN = "73915528"
SCOPES = ["otp", "sms", "inbox", "modems"]


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
    async def found() -> Any:
        answer = await api.ask("GET", f"/api/messages/{id}")
        # A store that is slow for once is asked again.
        over = answer.status != 503 and answer.record["state"] not in ("queued", "sending")
        return answer.record if over else None

    return await until(found, lambda: api.answers[-1].raw)


async def test_killed_while_the_radio_sends(enter: Enter, new_place: NewPlace) -> None:
    """Nobody knows what the network did: it is sent once more, and the doubt is told."""
    # Long enough to be killed meanwhile.
    net = Network(latency=5.0)
    modem = await plugged_in(enter, net)
    place = await new_place(tenant("shop", scopes=SCOPES), sms(modem))
    first = await place.serve()
    id = await post(first.api, "by radio")
    await until(lambda: modem.handed)
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
    await until(lambda: first.log.count('"POST"') >= 5)
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

    async def has_one_in_hand() -> bool:
        asked = [await first.api.ask("GET", f"/api/messages/{id}") for id in ids]
        return any(answer.status == 200 and answer.record["state"] == "sending" for answer in asked)

    await until(has_one_in_hand)
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
    long_codes = table("tenants.shop.codes", length=10)
    place = await new_place(tenant("shop", scopes=SCOPES) + long_codes, sms(modem), store=store.url)
    service = await place.serve()
    api = service.api
    await api.put("planted-user-1", provider="sms", to=TO)
    await until(lambda: net.sent)
    code = next(word.strip(".") for word in net.sent[0].text.split() if word.strip(".").isdigit())
    id = await post(api, "planted words of a message")
    await ended(api, id)
    modem.fail_next("CMS 500")
    await ended(api, await post(api, "planted words of a message, again"))
    net.call(modem.number, "planted words from outside", SENDER)

    async def texts() -> Any:
        answer = await api.ask("GET", "/api/inbox")
        return answer.status == 200 and answer.record["texts"]

    await until(texts)
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
    kept = store.kept()
    assert len(kept) > 10
    for secret in secrets:
        assert len(secret) >= 8, "a shorter one may stand there by chance"
        assert not [one for one in (*told, *kept) if secret.encode() in one], secret
