"""What MQTT is told: texts that came in, where messages are, heartbeats, presence."""

from __future__ import annotations

import ast
import json
import re
from typing import Any

from tests.flows.feeders_rig import ASKED, Gate, command, number
from tests.waiting import until

pytest_plugins = ["tests.drills.feeders_far"]

CAME, HEARTBEAT, PRESENCE = "mqttsmsgw/dongle1", "smsgwheartbeat/dongle1", "smsgwpresence/dongle1"


async def came(gate: Gate, text: str, sender: str) -> dict[str, Any]:
    """What was published of a text that came in."""

    def found() -> list[dict[str, Any]]:
        told = [json.loads(body) for body in gate.mqtt.bodies(CAME)]
        return [one for one in told if one["text"] == text and one["from"] == sender]

    await until(found, lambda: gate.service.log[-3000:])
    assert len(found()) == 1
    return found()[0]


async def test_a_text_that_came_in_is_published_with_its_code(gate: Gate) -> None:
    sender = number()
    text = 'It\'s "G-482913"? No: your code is 482913. €5 ok?'
    gate.net.call(gate.modem.number, text, sender)
    told = await came(gate, text, sender)
    raw = next(body for body in gate.mqtt.bodies(CAME) if json.loads(body) == told).decode()

    assert told["code"] == "482913"
    assert {told[name] for name in ("from", "msdn", "msisdn")} == {sender}
    assert (told["to"], told["modem"].rpartition(".")[2]) == ("dongle1", "one")
    assert re.fullmatch(r"\d\d/\d\d/\d\d", told["date"])
    assert re.fullmatch(r"\d\d:\d\d:\d\d", told["time"])
    # Old readers take it for a Python literal, or make a quotation mark of every apostrophe.
    assert ast.literal_eval(raw) == told
    assert json.loads(raw.replace("'", '"')) == told
    inbox = (await gate.service.api.ask("GET", "/api/inbox")).record["texts"]
    assert told["id"] in [one["id"] for one in inbox]
    assert not [one for one in gate.mqtt.messages if str(one.topic) == CAME and one.retain]


async def test_long_texts_and_those_without_a_code_are_published_whole(gate: Gate) -> None:
    sender, text = number(), "x1 " * 150 + "çà"
    gate.net.call(gate.modem.number, text, sender, order=(3, 1, 2, 4, 5, 6, 7))
    told = await came(gate, text, sender)

    assert "code" not in told


async def test_states_are_told_up_to_the_delivery(gate: Gate) -> None:
    to = number()
    await gate.mqtt.send(command(to, "followed", id="order-1").encode(), topic=ASKED)
    await until(lambda: "delivered" in states(gate, "order-1"), lambda: str(states(gate, "order-1")))

    found = states(gate, "order-1")
    order = ["queued", "sending", "sent", "delivered"]
    assert found[0] == "queued"
    assert found == sorted(found, key=order.index), "never backwards"
    assert len(set(found)) == len(found), "each once"


async def test_refusals_are_told_too(gate: Gate) -> None:
    await gate.mqtt.send(command("no number", "lost", id="order-2").encode(), topic=ASKED)
    gate.net.refused[barred := number()] = "CMS 1"
    await gate.mqtt.send(command(barred, "barred", id="order-3").encode(), topic=ASKED)
    late = command(number(), "late", id="order-4", expiration=1635163524)
    await gate.mqtt.send(late.encode(), topic=ASKED)
    await until(lambda: "failed" in states(gate, "order-3"), lambda: str(gate.mqtt.heard[-20:]))
    await until(lambda: states(gate, "order-2") and states(gate, "order-4"))

    told = {id: json.loads(gate.mqtt.bodies(f"smsstatus/{id}")[-1]) for id in ("order-2", "order-4")}
    assert told["order-2"] == {"id": "order-2", "status": "refused", "error": "invalid_address"}
    assert told["order-4"]["status"] == "expired"
    assert gate.got(barred) == []


def states(gate: Gate, id: str) -> list[str]:
    return [json.loads(body)["status"] for body in gate.mqtt.bodies(f"smsstatus/{id}")]


async def test_heartbeats_count_and_presence_is_kept(gate: Gate) -> None:
    gate.net.call(gate.modem.number, "one more", number())
    await until(lambda: beats(gate) and beats(gate)[-1]["sms_in"] >= 1, lambda: str(beats(gate)[-3:]))

    last = beats(gate)[-1]
    assert (last["id"], set(last)) == ("dongle1", {"id", "sms_in", "last_sms"})
    assert last["last_sms"] >= 0
    kept = [(bytes(one.payload), one.retain) for one in gate.mqtt.messages if str(one.topic) == PRESENCE]
    # It was there before we were.
    assert kept[0] == (b"online", True)


def beats(gate: Gate) -> list[dict[str, Any]]:
    return [json.loads(body) for body in gate.mqtt.bodies(HEARTBEAT)]
